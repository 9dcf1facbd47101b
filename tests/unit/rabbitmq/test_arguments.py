"""What queues are declared with: whoever changes this finds queues out there that he cannot change."""

import pytest

from daemon.events.rabbitmq.topology import DEAD_ARGUMENTS, TIERS_MS, Arguments, queue_arguments, wait_arguments


def test_a_subscriber_s_queue_keeps_what_its_dead_letters_have_no_room_for() -> None:
    arguments = queue_arguments("shop.greet.dead", ordered=False)

    assert arguments == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "shop.greet.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": 100,
    }
    assert queue_arguments("shop.greet.dead", ordered=True) == arguments | {"x-single-active-consumer": True}


def test_a_dead_letter_may_be_looked_at_very_often_and_goes_nowhere() -> None:
    assert DEAD_ARGUMENTS == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


@pytest.mark.parametrize("tier", TIERS_MS)
def test_what_has_waited_goes_where_its_routing_key_says(tier: int) -> None:
    assert wait_arguments(tier) == {
        "x-queue-type": "quorum",
        "x-message-ttl": tier,
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


@pytest.mark.parametrize(
    "arguments", [queue_arguments("dead", ordered=True), DEAD_ARGUMENTS, *map(wait_arguments, TIERS_MS)]
)
def test_no_queue_sets_a_consumer_timeout(arguments: Arguments) -> None:
    """rabbitmq-server#16555: a broker crashed over a queue with one."""
    assert "x-consumer-timeout" not in arguments
