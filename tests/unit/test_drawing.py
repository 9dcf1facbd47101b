"""Drawings of a workflow's graph."""

from xml.etree import ElementTree as ET

from daemon import Ref, for_each, parallelize, step, transform, when, workflow
from daemon.workflow.drawing import to_dot, to_svg

SVG = "{http://www.w3.org/2000/svg}"


@step("reserve")
async def reserve(sku: str) -> str:
    return sku


@reserve.compensate
async def release(sku: str) -> None:
    """Do nothing."""


@step("charge")
async def charge(sku: str) -> str:
    return sku


@step("label")
async def label(sku: str) -> str:
    return sku


@workflow("drawn")
def drawn(sku: Ref[str]) -> Ref[str]:
    reserved = reserve(sku)
    charged, labelled = parallelize(charge(reserved), label(reserved))
    return transform(charged, labelled, lambda a, b: a + b, name="a<b>")


def test_dot_has_every_node_its_order_and_its_compensation() -> None:
    lines = [line.strip() for line in to_dot(drawn.graph).splitlines()]

    assert lines == [
        'digraph "drawn" {',
        "node [fontname=monospace];",
        'start [label="drawn", shape=oval];',
        'n1 [label="reserve", shape=box];',
        'n1u [label="release", shape=box, style=dashed];',
        'n1 -> n1u [label="undo", style=dashed, constraint=false];',
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
    root = ET.fromstring(to_svg(drawn.graph))  # noqa: S314 - we made it

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
    lines = [line.strip() for line in to_dot(with_conditions.graph).splitlines()]

    assert 'n2 [label="when-1", shape=diamond];' in lines
    assert 'n2 -> n3 [label="yes"];' in lines
    assert 'n2 -> n4 [label="no"];' in lines
    assert [line for line in lines if line.endswith("-> n5;")] == ["n3 -> n5;", "n4 -> n5;"]


def test_svg_shows_a_condition_and_its_cases_inside_the_picture() -> None:
    root = ET.fromstring(to_svg(with_conditions.graph))  # noqa: S314 - we made it

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
    texts = [text.text for text in ET.fromstring(to_svg(with_a_loop.graph)).iter(f"{SVG}text")]  # noqa: S314 - ours

    assert 'n1[["reserve for each"]]' in mermaid
    assert 'n1 -. undo .-> n1u("release")' in mermaid
    assert 'n1 [label="reserve for each", shape=box3d];' in to_dot(with_a_loop.graph)
    assert texts == ["with-a-loop", "reserve for each", "release", "end"]
