"""Payloads: what is written of an event is read again, and what cannot be written is named."""

import pytest
from pydantic import ConfigDict, Field

from daemon import CodecError, Event, SubscriberContext, subscriber
from daemon.clock import ManualClock
from daemon.events.model import DeadReason, body_of, encode_event
from daemon.events.payload import BadPayloadError, payload_of


class LabelPrinted(Event, name="label.printed"):
    order_id: int = Field(alias="orderId")
    pixels: bytes = b""


class ScanTaken(Event, name="scan.taken"):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    pixels: bytes


@subscriber(LabelPrinted, ScanTaken, id="archive")
async def archive(event: LabelPrinted | ScanTaken, ctx: SubscriberContext) -> None:
    """Take both."""


@pytest.mark.parametrize("event", [LabelPrinted(orderId=7, pixels=b"\n"), ScanTaken(pixels=b"\xff\x00")])
def test_an_event_is_read_as_what_was_published(event: Event) -> None:
    message = encode_event(event, source="shop", now_us=ManualClock().now_us())

    assert payload_of(archive, message, limit_bytes=100) == event


def test_fields_go_by_their_aliases_too() -> None:
    message = encode_event(LabelPrinted(orderId=7), source="shop", now_us=ManualClock().now_us())
    other = type(message)(message.envelope, b'{"orderId": 7}')

    assert payload_of(archive, other, limit_bytes=100) == LabelPrinted(orderId=7)


def test_a_payload_that_does_not_fit_is_bad() -> None:
    message = encode_event(LabelPrinted(orderId=7), source="shop", now_us=ManualClock().now_us())

    with pytest.raises(BadPayloadError, match="does not fit LabelPrinted: orderId: Field required") as bad:
        payload_of(archive, type(message)(message.envelope, b"{}"), limit_bytes=100)

    assert bad.value.reason is DeadReason.INVALID_PAYLOAD


def test_an_event_without_a_json_form_names_the_field_and_says_what_to_write() -> None:
    with pytest.raises(
        CodecError, match=r"event 'label.printed' has no JSON form at pixels: .*ser_json_bytes='base64'"
    ):
        body_of(LabelPrinted(orderId=7, pixels=b"\xff"))
