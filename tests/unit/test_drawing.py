"""Drawings of a workflow's graph."""

from collections.abc import Iterator
from itertools import combinations, count, pairwise
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from daemon import (
    Ref,
    SkipTo,
    for_each,
    parallelize,
    transform,
    when,
    workflow,
)
from tests.unit.drawn import SVG, charge, label, reserve


@workflow("drawn")
def drawn(sku: Ref[str]) -> Ref[str]:
    reserved = reserve(sku)
    charged, labelled = parallelize(charge(reserved), label(reserved))
    return transform(charged, labelled, lambda a, b: a + b, name="a<b>")


def test_dot_has_every_node_its_order_and_its_compensation() -> None:
    lines = [line.strip() for line in drawn.graph.to_dot().splitlines()]

    assert lines == [
        'digraph "drawn" {',
        "node [fontname=monospace];",
        'start [label="drawn", shape=oval];',
        'n1 [label="reserve", shape=box];',
        'n1u [label="release", shape=box, style=dashed];',
        '{rank=same; n1 -> n1u [label="undo", style=dashed];}',
        'n2 [label="charge", shape=box];',
        'n3 [label="label", shape=box];',
        'n4 [label="a<b>", shape=parallelogram];',
        'done [label="end", shape=oval];',
        "start -> n1;",
        "n1 -> n2;",
        "n1 -> n3;",
        "n2 -> n4;",
        "n3 -> n4;",
        "n4 -> done;",
        "}",
    ]


def test_svg_is_a_document_in_which_everything_stands_inside_the_picture() -> None:
    root = ET.fromstring(drawn.graph.to_svg())  # noqa: S314 - we made it

    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = {text.text: text for text in root.iter(f"{SVG}text")}
    assert set(texts) == {"drawn", "reserve", "release", "charge", "label", "a<b>", "end"}
    for box in root.iter(f"{SVG}rect"):
        assert 0 <= float(box.attrib["x"]) <= float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert 0 <= float(box.attrib["y"]) <= float(box.attrib["y"]) + float(box.attrib["height"]) <= height
    assert texts["charge"].attrib["y"] == texts["label"].attrib["y"]
    assert float(texts["reserve"].attrib["y"]) < float(texts["charge"].attrib["y"])


@workflow("with-conditions")
def with_conditions(sku: Ref[str]) -> Ref[str]:
    reserved = reserve(sku)
    with when(reserved, bool) as known:
        charge(reserved)
    with known.otherwise():
        label(reserved)
    return reserve.named("again")(reserved)


def test_mermaid_shows_a_condition_and_its_cases() -> None:
    lines = [line.strip() for line in with_conditions.graph.to_mermaid().splitlines()]

    assert lines == [
        "flowchart TD",
        'start(["with-conditions"])',
        'n1["reserve"]',
        "start --> n1",
        'n1 -. undo .-> n1u("release")',
        'n2{"when-1"}',
        "n1 --> n2",
        'n3["charge"]',
        "n2 -->|yes| n3",
        'n4["label"]',
        "n2 -->|no| n4",
        'n5["again"]',
        "n3 --> n5",
        "n4 --> n5",
        'n5 -. undo .-> n5u("release")',
        'done(["end"])',
        "n5 --> done",
    ]


def test_dot_shows_a_condition_and_its_cases() -> None:
    lines = [line.strip() for line in with_conditions.graph.to_dot().splitlines()]

    assert 'n2 [label="when-1", shape=diamond];' in lines
    assert 'n2 -> n3 [label="yes"];' in lines
    assert 'n2 -> n4 [label="no"];' in lines
    assert [line for line in lines if line.endswith("-> n5;")] == ["n3 -> n5;", "n4 -> n5;"]


def test_svg_shows_a_condition_and_its_cases_inside_the_picture() -> None:
    root = ET.fromstring(with_conditions.graph.to_svg())  # noqa: S314 - we made it

    width = float(root.attrib["width"])
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"when-1", "yes", "no"} <= set(texts)
    for path in root.iter(f"{SVG}path"):
        places = [float(each.split(" ")[0]) for each in path.attrib["d"].strip("MZ").split("L")]
        assert all(0 <= x <= width for x in places)


@workflow("with-a-loop")
def with_a_loop(skus: Ref[list[str]]) -> Ref[list[str]]:
    return for_each(skus, reserve)


def test_every_drawing_shows_a_loop_and_how_it_is_undone() -> None:
    mermaid = [line.strip() for line in with_a_loop.graph.to_mermaid().splitlines()]
    texts = [text.text for text in ET.fromstring(with_a_loop.graph.to_svg()).iter(f"{SVG}text")]  # noqa: S314 - ours

    assert 'n1[["reserve for each"]]' in mermaid
    assert 'n1 -. undo .-> n1u("release")' in mermaid
    assert 'n1 [label="reserve for each", shape=box3d];' in with_a_loop.graph.to_dot()
    assert texts == ["with-a-loop", "reserve for each", "release", "end"]


@workflow("skips-out")
def skips_out(sku: Ref[str]) -> None:
    with when(sku, bool) as known:
        charge.options(on_failure=SkipTo("when-1-otherwise"))(sku)
    with known.otherwise():
        label(sku)


def test_a_failure_that_leads_to_another_block_leads_to_the_first_of_it() -> None:
    lines = [line.strip() for line in skips_out.graph.to_mermaid().splitlines()]

    assert lines[lines.index('n3["label"]') :][:3] == ['n3["label"]', "n1 -->|no| n3", "n2 -. failed .-> n3"]


@workflow("reported")
def reported(sku: Ref[str]) -> None:
    label.options(external=True)(sku)


def test_a_step_that_somebody_reports_says_so() -> None:
    assert 'n1["label, external"]' in reported.graph.to_mermaid()


Shape = list[
    Any
]  # "step", "group", or a condition: what it has in its first case, and in its other one if there is any


def shapes() -> st.SearchStrategy[Shape]:
    single = st.sampled_from(["step", "undone", "group"])
    return st.recursive(
        st.lists(single, min_size=1, max_size=3),
        lambda inner: st.lists(single | st.tuples(inner, st.none() | inner), min_size=1, max_size=3),
        max_leaves=12,
    )


def compose(shape: Shape, sku: Ref[str], names: Iterator[int]) -> None:
    for item in shape:
        if item == "group":
            parallelize(charge.named(f"charge-{next(names)}")(sku), reserve.named(f"reserve-{next(names)}")(sku))
        elif isinstance(item, str):
            (charge if item == "step" else reserve).named(f"{item}-{next(names)}")(sku)
        else:
            first, other = item
            with when(sku, bool) as case:
                compose(first, sku, names)
            if other is not None:
                with case.otherwise():
                    compose(other, sku, names)


@given(shapes())
def test_no_box_of_an_svg_lies_on_another_and_no_arrow_goes_through_one(shape: Shape) -> None:
    @workflow("nested")
    def nested(sku: Ref[str]) -> None:
        compose(shape, sku, count())

    root = ET.fromstring(nested.graph.to_svg())  # noqa: S314 - we made it

    boxes = [
        tuple(float(box.attrib[side]) for side in ("x", "y", "width", "height")) for box in root.iter(f"{SVG}rect")
    ]
    for (x, y, width, height), (other_x, other_y, _, _) in combinations(sorted(boxes), 2):
        assert other_x >= x + width or abs(y - other_y) >= height
    for path in root.iter(f"{SVG}path"):
        if path.attrib.get("class") != "line":
            continue
        points = [tuple(map(float, place.split(" "))) for place in path.attrib["d"].strip("M").split("L")]
        for (ax, ay), (bx, by) in pairwise(points):
            for x, y, width, height in boxes:
                assert max(ax, bx) <= x or min(ax, bx) >= x + width or max(ay, by) <= y or min(ay, by) >= y + height
