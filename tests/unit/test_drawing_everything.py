"""Drawings of children, timers, waits, events, hooks and ways around a failure."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from daemon import (
    Event,
    Hook,
    Ref,
    SkipTo,
    emit,
    parallelize,
    sleep,
    sleep_until,
    transform,
    wait_for_event,
    workflow,
)
from tests.unit.drawn import SVG, charge, label, reserve


class Paid(Event, name="order.paid"):
    sku: str


sku_checked = Hook[str]("sku-checked")


@workflow("drawn-child")
def child(sku: Ref[str]) -> Ref[str]:
    return reserve(sku)


@workflow("drawn-grandchild")
def grandchild(sku: Ref[str]) -> None:
    child.as_step(sku)


@workflow("drawn-quiet-child")
def quiet_child(sku: Ref[str]) -> None:
    charge(sku)
    sku_checked(sku)


@workflow("with-everything")
def with_everything(sku: Ref[str]) -> None:
    charge.options(on_failure=SkipTo("paid"))(sku)
    label.options(on_failure="continue")(sku)
    parallelize(grandchild.as_step(sku, name="twice"), quiet_child.as_step(sku))
    sleep(timedelta(hours=1))
    sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    wait_for_event(Paid, key=sku, match=lambda paid: paid.sku, timeout=timedelta(days=2), name="paid")
    sku_checked(sku)
    emit(Paid(sku="pen"))
    emit(transform(sku, lambda sku: Paid(sku=sku), name="made"))


@with_everything.on(sku_checked)
def check(sku: str) -> None:
    """Do nothing."""


@check.compensate
def uncheck() -> None:
    """Do nothing."""


@with_everything.on(sku_checked)
def check_again(sku: str) -> None:
    """Do nothing."""


def test_mermaid_shows_children_timers_waits_events_hooks_and_where_a_failure_leads() -> None:
    lines = [line.strip() for line in with_everything.graph.to_mermaid().splitlines()]

    assert lines == [
        "flowchart TD",
        'start(["with-everything"])',
        'n1["charge"]',
        "start --> n1",
        'n2["label, or goes on without"]',
        "n1 --> n2",
        'n3[["workflow twice of drawn-grandchild"]]',
        "n2 --> n3",
        'n3 -. undo .-> n3u("its steps")',
        'n4[["workflow drawn-quiet-child"]]',
        "n2 --> n4",
        'n5(("sleep-1: 1:00:00"))',
        "n3 --> n5",
        "n4 --> n5",
        'n6(("sleep-until-1"))',
        "n5 --> n6",
        'n7>"paid: order.paid, at most 2 days"]',
        "n6 --> n7",
        "n1 -. failed .-> n7",
        'n8[/"hook sku-checked"\\]',
        "n7 --> n8",
        'n9["check"]',
        "n8 --> n9",
        'n9 -. undo .-> n9u("uncheck")',
        'n10["check_again"]',
        "n9 --> n10",
        'n11[\\"emit-1: order.paid"\\]',
        "n10 --> n11",
        'n12[/"made"/]',
        "n11 --> n12",
        'n13[\\"emit-2: an event"\\]',
        "n12 --> n13",
        'done(["end"])',
        "n13 --> done",
    ]


def test_dot_shows_children_timers_waits_events_hooks_and_where_a_failure_leads() -> None:
    lines = [line.strip() for line in with_everything.graph.to_dot().splitlines()]

    assert {
        'n3 [label="workflow twice of drawn-grandchild", shape=box, peripheries=2];',
        '{rank=same; n3 -> n3u [label="undo", style=dashed];}',
        'n5 [label="sleep-1: 1:00:00", shape=box, style=rounded];',
        'n7 [label="paid: order.paid, at most 2 days", shape=cds];',
        'n8 [label="hook sku-checked", shape=trapezium];',
        'n11 [label="emit-1: order.paid", shape=rarrow];',
        'n1 -> n7 [label="failed", style=dashed, constraint=false];',
    } <= set(lines)


def test_svg_shows_children_timers_waits_events_hooks_and_where_a_failure_leads() -> None:
    root = ET.fromstring(with_everything.graph.to_svg())  # noqa: S314 - we made it

    width = float(root.attrib["width"])
    texts = {text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text")}
    (skip,) = [path for path in root.iter(f"{SVG}path") if path.attrib.get("class") == "line skip"]
    assert {"workflow drawn-quiet-child", "its steps", "sleep-until-1", "emit-1: order.paid", "failed"} <= set(texts)
    assert all(0 < x < width for x in texts.values())
    (lane, again) = [float(place.split(" ")[0]) for place in skip.attrib["d"].strip("M").split("L")][2:4]
    assert lane == again < min(float(box.attrib["x"]) for box in root.iter(f"{SVG}rect"))
