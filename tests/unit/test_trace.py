"""Traces are carried on as W3C trace context says, and begun where there is none."""

import re
from typing import Any

import pytest

from daemon.activation import Trigger
from daemon.trace import STATE_MAX, TRACEPARENT, TRACESTATE, Trace

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{ID}-{SPAN}-01"


@pytest.mark.parametrize(
    ("traceparent", "sampled"),
    [
        (VALID, True),
        (f"00-{ID}-{SPAN}-00", False),
        (f"00-{ID}-{SPAN}-03", True),
        (f"cc-{ID}-{SPAN}-01", True),
        (f"cc-{ID}-{SPAN}-00-what-is-to-come", False),
    ],
)
def test_a_valid_trace_is_carried_on_under_a_parent_of_our_own(traceparent: str, *, sampled: bool) -> None:
    trace = Trace.of({TRACEPARENT: traceparent}, "till", "order.placed", "e1")

    sent = trace.headers("shop", "order.noted", "e2")[TRACEPARENT]

    assert (trace.id, trace.sampled) == (ID, sampled)
    assert re.fullmatch(rf"00-{ID}-[0-9a-f]{{16}}-0{int(sampled)}", sent)
    assert SPAN not in sent


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        7,
        "",
        "x",
        VALID.upper(),
        f" {VALID}",
        f"{VALID}\n",
        f"{VALID}-more",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID[:-1]}-{SPAN}-01",
        f"00-{ID}-{SPAN}-1",
        f"cc-{ID}-{SPAN}-01.more",
    ],
)
def test_what_is_no_trace_begins_one_that_is_the_same_in_every_repetition(traceparent: Any) -> None:
    headers = {TRACEPARENT: traceparent, TRACESTATE: "vendor=1"}

    traces = [Trace.of(headers, "till", "order.placed", id) for id in ("e1", "e1", "e2")]

    assert Trace.given(headers) is None
    assert traces[0] == traces[1] != traces[2]
    assert (traces[0].state, traces[0].sampled) == ("", True)
    assert traces[0].headers("a") == traces[1].headers("a") != traces[0].headers("b")


@pytest.mark.parametrize(
    ("state", "passed_on"),
    [
        ("congo=t61rcWkgMzE,rojo=1", True),
        ("x" * (STATE_MAX + 1), False),
        ("naïve=1", False),
        ("a=1\r\nx: y", False),
        (7, False),
    ],
)
def test_the_state_of_the_trace_is_passed_on_where_it_can_be(state: Any, *, passed_on: bool) -> None:
    sent = Trace.of({TRACEPARENT: VALID, TRACESTATE: state}).headers("e1")

    assert sent.get(TRACESTATE) == (state if passed_on else None)


def test_a_trigger_is_stored_with_its_trace_and_without_one_as_before() -> None:
    plain, traced = Trigger("call"), Trigger("event", "hello", "e1", "c1", VALID)

    assert plain.to_json() == b'{"kind": "call", "name": "", "id": "", "correlation_id": null}'
    assert b'"traceparent": "00-' in traced.to_json()
    assert b"tracestate" not in traced.to_json()
