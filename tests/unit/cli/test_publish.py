"""`sagad publish`."""

from tests.unit.cli.conftest import Sagad


def test_a_payload_that_a_subscriber_will_refuse_is_published_with_a_warning(sagad: Sagad) -> None:
    done = sagad("publish", "customer.created")

    assert done.status == 0
    assert done.err == (
        "warning: greet will not take it. The payload does not fit CustomerCreated: id: Field required.\n"
    )


def test_an_event_that_nobody_gets_fails_with_a_sentence(sagad: Sagad) -> None:
    done = sagad("publish", "order.placed", "{}")

    assert (done.status, done.out) == (1, "")
    assert done.err == "Nobody gets 'order.placed': no subscriber of shop takes it.\n"


def test_a_payload_above_the_limit_fails_with_a_sentence(sagad: Sagad) -> None:
    done = sagad("publish", "customer.created", '{"id": "c1"}', SAGAD_DAEMON__MAX_PAYLOAD_BYTES="5")

    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "is 12 bytes as JSON; the limit is 5" in done.err
