"""What `topology plan` and `apply` find out on a real broker, and what they leave alone."""

import asyncio
from collections import Counter

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from daemon.errors import BrokerUnavailableError
from daemon.events.bus import Subscription
from daemon.events.rabbitmq.plan import definitions
from daemon.events.rabbitmq.topology import TIERS_MS
from daemon.events.topology import Item, Plan, State
from tests.integration.rabbitmq.laboratory import Laboratory
from tests.services.process import free_port

GREET = Subscription("greet", ("customer.created", "customer.moved"), 10)
LEDGER = Subscription("ledger", ("entry",), 1, ordered=True)


def found(plan: Plan, name: str, key: str | None = None) -> Item:
    [item] = [each for each in plan.items if each.name == name and each.wanted.get("routing_key") == key]
    return item


def states(plan: Plan) -> Counter[State]:
    return Counter(item.state for item in plan.items)


async def test_looking_creates_nothing(lab: Laboratory) -> None:
    bus = await lab.bus()

    plans = [await bus.plan([GREET, LEDGER]) for _ in range(2)]

    assert [set(states(plan)) for plan in plans] == [{State.MISSING, State.LATER}] * 2
    assert plans[0].lacks
    [state] = await bus.queues(["greet"])
    assert (state.ready, state.dead) == (None, None)


async def test_a_daemon_has_declared_all_but_what_the_first_retry_that_waits_so_long_declares(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.subscribe(bus, "greet", *GREET.patterns)

    plan = await bus.plan([GREET])

    assert not plan.lacks
    assert {item.name for item in plan.of(State.LATER)} <= {
        f"{lab.app}.wait.{milliseconds}" for milliseconds in TIERS_MS
    }
    assert {item.name for item in plan.of(State.OK)} >= {f"{lab.app}.greet", f"{lab.app}.greet.dead"}


@pytest.mark.parametrize("declare", ["missing", "never"])
async def test_once_applied_nothing_is_missing_any_more_unless_nothing_may_be_declared(
    lab: Laboratory, declare: str
) -> None:
    lab.subscribers.update(("greet", "ledger"))
    bus = await lab.bus(declare=declare)

    applied = await bus.apply([GREET, LEDGER])

    after = await bus.plan([GREET, LEDGER])
    kinds = Counter(item.kind for item in after.items)
    assert kinds == {"exchange": 1 + len(TIERS_MS), "queue": 4 + len(TIERS_MS), "binding": 3 + len(TIERS_MS)}
    assert set(states(after)) == set(states(applied)) == {State.OK if declare == "missing" else State.MISSING}
    assert applied.troubles == ()


async def test_what_differs_is_named_with_both_values_and_is_left_as_it_is(lab: Laboratory) -> None:
    lab.subscribers.update(("greet", "ledger"))
    await lab.amqp(lambda channel: channel.queue_declare(f"{lab.app}.ledger", durable=True))
    bus = await lab.bus()

    before, applied = await bus.plan([GREET, LEDGER]), await bus.apply([GREET, LEDGER])

    for plan in (before, applied):
        ledger = found(plan, f"{lab.app}.ledger")
        assert ledger.state is State.DIFFERENT
        assert "inequivalent arg" in ledger.detail
        assert ledger.wanted["arguments"]["x-single-active-consumer"] is True
    assert states(applied)[State.DIFFERENT] == 1
    assert states(applied)[State.MISSING] == 0
    assert found(applied, f"{lab.app}.ledger", "entry").state is State.OK  # bound all the same
    assert applied.troubles == ()  # the item says it
    await lab.amqp(lambda channel: channel.queue_declare(f"{lab.app}.ledger", durable=True))  # it is what it was


async def test_an_exchange_of_another_kind_is_different_and_one_of_somebody_else_is_used(lab: Laboratory) -> None:
    bus = await lab.bus()
    await lab.amqp(lambda channel: channel.exchange_declare(lab.exchange, "topic", durable=False))
    theirs = found(await bus.plan([GREET]), lab.exchange)

    def replace(channel: BlockingChannel) -> None:
        channel.exchange_delete(lab.exchange)
        channel.exchange_declare(lab.exchange, "direct", durable=True)

    await lab.amqp(replace)
    other = found(await bus.plan([GREET]), lab.exchange)

    assert theirs.state is State.OK
    assert "used as it is" in theirs.detail
    assert other.state is State.DIFFERENT
    assert "'type'" in other.detail


async def test_a_binding_that_nobody_wants_any_more_is_stale_until_it_is_unbound(lab: Laboratory) -> None:
    lab.subscribers.add("greet")
    bus = await lab.bus()
    await bus.apply([GREET])
    changed = Subscription("greet", ("customer.moved", "customer.left"), 10)
    again = await lab.bus()

    before, applied = await again.plan([changed]), await again.apply([changed])

    assert found(before, f"{lab.app}.greet", "customer.created").state is State.STALE
    assert found(before, f"{lab.app}.greet", "customer.moved").state is State.OK
    assert found(before, f"{lab.app}.greet", "customer.left").state is State.MISSING
    assert set(states(applied)) == {State.OK}
    await lab.publish("customer.created", b"{}")
    await lab.publish("customer.left", b"{}")
    [state] = await again.queues(["greet"])
    assert state.ready == 1


async def test_the_queues_of_a_removed_subscriber_are_orphans_until_somebody_deletes_them(lab: Laboratory) -> None:
    lab.subscribers.update(("greet", "ledger"))
    bus = await lab.bus()
    await bus.apply([GREET, LEDGER])
    await lab.publish("entry", b"{}")

    kept = await bus.apply([GREET])
    turned_off = await bus.plan([GREET], known=["ledger"])
    await lab.amqp(lambda channel: [channel.queue_delete(f"{lab.app}.ledger{each}") for each in ("", ".dead")])
    gone = await bus.apply([GREET])

    assert [item.name for item in kept.of(State.ORPHAN)] == [f"{lab.app}.ledger", f"{lab.app}.ledger.dead"]
    assert "1 event waits there, and it goes on taking entry" in kept.of(State.ORPHAN)[0].detail
    assert f"rabbitmqctl delete_queue --vhost / {lab.app}.ledger" in kept.commands
    assert not kept.lacks
    assert not turned_off.of(State.ORPHAN)
    assert not gone.of(State.ORPHAN)
    assert await lab.store.bindings(lab.app) == [("greet", "customer.created"), ("greet", "customer.moved")]


async def test_who_may_not_declare_gets_what_is_missing_as_definitions(lab: Laboratory) -> None:
    lab.subscribers.add("greet")
    bus = await lab.bus(declare="never")

    missing = definitions((await bus.plan([GREET])).items, "/")

    def declare(channel: BlockingChannel) -> None:
        for each in missing["exchanges"]:
            channel.exchange_declare(each["name"], each["type"], durable=each["durable"])
        for each in missing["queues"]:
            channel.queue_declare(each["name"], durable=each["durable"], arguments=each["arguments"])
        for each in missing["bindings"]:
            channel.queue_bind(each["destination"], each["source"], each["routing_key"])

    await lab.amqp(declare)
    after = await bus.plan([GREET])
    _, inbox = await lab.subscribe(bus, "greet", *GREET.patterns)
    await lab.publish("customer.moved", b"{}")
    assert set(states(after)) == {State.OK, State.UNKNOWN}  # of bindings the broker does not tell
    assert {item.kind for item in after.of(State.UNKNOWN)} == {"binding"}
    assert not after.lacks
    assert (await inbox.next()).message.envelope.name == "customer.moved"


async def test_a_queue_that_another_connection_owns_alone_is_different(lab: Laboratory) -> None:
    """aio-pika#679: none of ours is exclusive, so each can be consumed again on the next connection."""
    lab.subscribers.add("greet")
    bus = await lab.bus()
    plans = []

    loop = asyncio.get_running_loop()

    def own(channel: BlockingChannel) -> None:
        channel.queue_declare(f"{lab.app}.greet", exclusive=True)
        plans.append(asyncio.run_coroutine_threadsafe(bus.plan([GREET]), loop).result(10))

    await lab.amqp(own)

    assert found(plans[0], f"{lab.app}.greet").state is State.DIFFERENT
    assert "RESOURCE_LOCKED" in found(plans[0], f"{lab.app}.greet").detail


async def test_a_broker_that_is_away_is_said_so(lab: Laboratory) -> None:
    bus = await lab.bus(url=f"amqp://guest:geheim@127.0.0.1:{free_port()}/", publish_timeout_s=0.5)

    with pytest.raises(BrokerUnavailableError, match="cannot be reached") as caught:
        await bus.plan([GREET])

    assert "geheim" not in str(caught.value)
