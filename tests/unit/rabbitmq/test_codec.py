"""Properties go through us as they came."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from daemon.events.rabbitmq.codec import MalformedError, Properties, is_sendable, typed, untyped

SHORT = st.binary(max_size=255)
PLAIN = st.one_of(st.text(max_size=50), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False))
ENCODED = PLAIN.map(typed)
TABLE = st.dictionaries(SHORT, ENCODED, max_size=5)


@settings(deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "content_type": SHORT,
            "delivery_mode": st.binary(min_size=1, max_size=1),
            "message_id": SHORT,
            "timestamp": st.binary(min_size=8, max_size=8),
            "app_id": SHORT,
        },
    ),
    headers=TABLE,
)
def test_properties_are_put_together_as_they_were_taken_apart(
    fields: dict[str, bytes], headers: dict[bytes, bytes]
) -> None:
    raw = Properties(fields, headers).marshal()

    again = Properties.parse(raw)

    assert (again.fields, again.headers) == (fields, headers)
    assert again.marshal() == raw


@settings(deadline=None)
@given(raw=st.binary(max_size=200))
def test_whatever_the_bytes_nothing_but_malformed_is_raised(raw: bytes) -> None:
    with contextlib.suppress(MalformedError):
        properties = Properties.parse(raw)
        for value in properties.headers.values():
            untyped(value)
            is_sendable(value)


@settings(deadline=None)
@given(value=PLAIN)
def test_a_plain_value_is_read_as_it_was_written(value: Any) -> None:
    assert untyped(typed(value)) == value


def test_the_client_library_writes_and_reads_the_same_bytes() -> None:
    headers: Any = {"text": "é", "number": 7, "flag": True, "list": [1, "two"], "table": {"a": 1}}
    theirs = Basic.Properties(content_type="application/json", message_id="e1", delivery_mode=2, headers=headers)

    ours = Properties.parse(theirs.marshal())

    assert {name.decode(): untyped(value) for name, value in ours.headers.items()} == headers
    assert (ours.text("message_id"), ours.text("content_type"), ours.text("app_id")) == ("e1", "application/json", None)
    header = ContentHeader()
    header.unmarshal(b"\x00\x3c\x00\x00" + bytes(8) + ours.marshal())
    assert header.properties == theirs


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x20\x00", b"\x20\x00\x00\x00\x00\x05\x01aZ", b"\x80\x00\x05ab"])
def test_bytes_that_end_too_early_or_say_nonsense_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        Properties.parse(raw)


def test_nesting_is_read_only_so_deep() -> None:
    value = b"V"
    for _ in range(1_000):
        value = b"A" + len(value).to_bytes(4) + value

    assert untyped(value) == [[[[[[[[None]]]]]]]]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_not_sent(number: float) -> None:
    assert not is_sendable(typed(number))
    assert is_sendable(typed(1.5))
