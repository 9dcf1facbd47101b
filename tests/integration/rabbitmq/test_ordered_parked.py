"""What the store has of ordered subscribers, since the broker would not wait for it, keeps its place."""

import asyncio

from daemon.events.model import DeadReason
from daemon.events.rabbitmq.shelf import LOOK_S
from daemon.log import captured_log
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Laboratory, until
from tests.integration.rabbitmq.ordering import LEDGER, Daemon, at_once, id_of, publish


async def test_what_is_parked_and_all_behind_it_goes_on_in_order_when_its_daemon_is_killed(lab: Laboratory) -> None:
    dying, next_ = Daemon(lab, "one"), Daemon(lab, "two")
    blocked = asyncio.Event()

    async def block(_: str, __: int) -> None:
        await blocked.wait()

    await dying.start(block, consumer_timeout_s=0.8)
    await publish(lab, *"abcd")
    await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 3)
    await dying.die()

    await next_.start(at_once)

    await until(lambda: len(next_.done) == 4)
    assert (dying.ran, dying.done) == ([("a", 1)], [])
    assert next_.ran == [(each, 1) for each in "abcd"]
    await lab.until_nothing_is_kept()


async def test_what_a_daemon_has_parked_stays_its_own_when_its_connection_is_lost(lab: Laboratory) -> None:
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    async with Proxy(lab.url) as proxy:
        await first.start(wait, url=through(proxy), consumer_timeout_s=0.8)
        await standby.start(at_once, consumer_timeout_s=0.8)
        await publish(lab, *"abcd")
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) >= 2)

        proxy.refuse()
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 4)  # moved by the standby
        began_meanwhile = [*standby.ran]
        finish.set()

        await until(lambda: len(first.done) + len(standby.done) == 4)

    assert began_meanwhile == []
    assert first.ran[0] == ("a", 1)
    assert [each for each, _ in first.ran + standby.ran] == [*"abcd"]


async def test_a_retry_of_what_is_parked_waits_in_place_and_outlives_its_daemon(lab: Laboratory) -> None:
    dying = await lab.bus(consumer_timeout_s=0.4)
    consumer, inbox = await lab.subscribe(dying, "ledger", "entry", prefetch=1, ordered=True)
    await publish(lab, *"ab")
    loop = asyncio.get_running_loop()
    first = await inbox.next()
    await until(lambda: first.row is not None)  # type: ignore[attr-defined]
    started_s = loop.time()
    held = await first.retry(0.3, attempt=2, error="no")
    second = await inbox.next()
    second_after_s = loop.time() - started_s
    held &= await second.retry(1.5, attempt=3, error="no")
    await lab.die(dying)

    _, inbox = await lab.subscribe(await lab.bus(), "ledger", "entry", prefetch=1, ordered=True)

    third = await inbox.next()
    assert held
    assert 1.79 <= loop.time() - started_s < LOOK_S
    assert second_after_s >= 0.29
    assert [(id_of(each), each.attempt) for each in (first, second, third)] == [("a", 1), ("a", 2), ("a", 3)]
    assert third.first_seen_us == first.first_seen_us
    await third.ack()
    assert id_of(await inbox.next(timeout_s=LOOK_S / 2)) == "b"
    assert consumer.subscription.ordered


async def test_what_is_parked_can_be_dead_lettered_and_released_and_the_next_one_follows(lab: Laboratory) -> None:
    bus = await lab.bus(consumer_timeout_s=0.4)
    _, inbox = await lab.subscribe(bus, "ledger", "entry", prefetch=1, ordered=True)
    await publish(lab, *"abc")

    ends = []
    for end in ("dead_letter", "release", "ack", "ack"):
        delivery = await inbox.next()
        await until(lambda: delivery.row is not None)  # type: ignore[attr-defined] # noqa: B023
        given = {"reason": "rejected", "error": "no"} if end == "dead_letter" else {}
        ends.append((id_of(delivery), await getattr(delivery, end)(**given)))

    assert ends == [("a", True), ("b", True), ("b", True), ("c", True)]
    [letter] = await bus.dead_letters("ledger", limit=10)
    assert letter.event_id == "a"
    await lab.until_nothing_is_kept()


async def test_a_daemon_that_leaves_while_an_event_is_parked_hands_on_what_is_behind_it_and_not_before(
    lab: Laboratory,
) -> None:
    leaving, staying = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    await leaving.start(wait, consumer_timeout_s=0.8)
    await staying.start(at_once)
    await publish(lab, *"abc")
    await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) >= 1)

    await leaving.consumer.cancel()
    await until(lambda: staying.consumer._intake.taken == 1)
    began_meanwhile = [*staying.ran]
    finish.set()

    await until(lambda: staying.done == ["b", "c"])
    assert (began_meanwhile, leaving.ran) == ([], [("a", 1)])
    await lab.until_nothing_is_kept()


async def test_an_event_that_kills_every_daemon_while_it_is_parked_is_a_dead_letter_and_the_next_follows(
    lab: Laboratory,
) -> None:
    blocked = asyncio.Event()

    async def block(id: str, _: int) -> None:
        if id == "poison":
            await blocked.wait()

    await (await lab.bus()).declare([LEDGER])
    await publish(lab, "poison", "next")
    for owner in ("one", "two", "three"):
        daemon = Daemon(lab, owner)
        await daemon.start(block, consumer_timeout_s=0.4)
        await until(lambda: daemon.ran == [("poison", 1)])  # noqa: B023
        await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 2)
        await daemon.die()
    last = Daemon(lab, "four")

    await last.start(block)

    await until(lambda: last.done == ["next"])
    assert last.ran == [("next", 1)]
    [letter] = await last.bus.dead_letters("ledger", limit=10)
    assert (letter.event_id, letter.reason) == ("poison", "crashed")


async def test_what_is_no_event_any_more_is_a_dead_letter_once_the_broker_takes_it(lab: Laboratory) -> None:
    """The broker was told that it is done, so it cannot be given back."""
    dying = Daemon(lab, "one")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    await dying.start(wait, consumer_timeout_s=0.4)
    await publish(lab, *"a")
    await until(lambda: sum(lab.store._queues.depths(lab.app).get("ledger", ())) == 1)
    await dying.die()

    async with Proxy(lab.url) as proxy:
        proxy.refuse()
        await lab.store.register(lab.app, "two", lease_s=60)
        bus = await lab.bus(owner="two", url=through(proxy), max_payload_bytes=1, publish_timeout_s=0.1)
        with captured_log() as log:
            await bus.subscribe(LEDGER, lambda _: None)
            await until(lambda: any(line["event"] == "outage_waits" for line in log))
        proxy.accept()
        await lab.until_nothing_is_kept()

        [letter] = await bus.dead_letters("ledger", limit=10)
    assert (letter.event_id, letter.reason) == ("a", DeadReason.TOO_LARGE)
