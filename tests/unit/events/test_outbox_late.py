"""A broker that does not answer for one name: what has that name waits, in order, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from tests.unit.events.test_outbox import Post


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    opened = Post()
    opened.bus.silent = {"order.noted"}
    yield opened
    await opened.outbox.aclose()


async def reached(probe: Callable[[], bool]) -> None:
    """Return once `probe` holds: what counts as late is late by the loop's own clock."""
    async with asyncio.timeout(10):
        while not probe():  # noqa: ASYNC110 - a bus sets no event
            await asyncio.sleep(0.01)


async def test_nothing_waits_for_a_name_that_the_broker_does_not_answer_for(post: Post) -> None:
    await post.stage("a1", "a2", origin="run-a")
    await post.stage("b1", origin="run-b", name="order.paid")
    await post.outbox.start()
    await reached(lambda: "b1" in post.bus.sent)
    for at in range(5):
        await post.stage(f"c{at}", origin=f"run-{at}", name="order.paid")
        post.outbox.poke()
        await reached(lambda at=at: f"c{at}" in post.bus.sent)  # type: ignore[misc] # mypy cannot infer a default

    await reached(lambda: len(post.outbox._late) == 1)
    assert post.bus.tries == 7
    assert await post.left() == ["a1", "a2"]


async def test_of_a_name_that_is_late_nothing_else_is_tried(post: Post) -> None:
    await post.stage("a1", origin="run-a")
    await post.outbox.start()
    await reached(lambda: len(post.outbox._late) == 1)

    for at in range(5):
        await post.stage(f"a{at}", origin=f"run-{at}")
        post.clock.advance(timedelta(seconds=5))
        await post.settle()

    assert post.bus.tries == 1


async def test_what_was_late_is_dropped_once_it_is_sent_and_what_follows_it_is_sent_then(post: Post) -> None:
    await post.stage("a1", "a2", origin="run-a")
    await post.stage("b1", origin="run-b")
    await post.outbox.start()
    await reached(lambda: len(post.outbox._late) == 2)
    await post.stage("a3", origin="run-a", first=2)
    post.outbox.poke()
    await post.settle()

    post.bus.speaks.set()
    await reached(lambda: "a3" in post.bus.sent)  # at once: no time has passed by the clock
    await post.settle()

    assert [id for id in post.bus.sent if id.startswith("a")] == ["a1", "a2", "a3"]
    assert post.bus.sent.count("b1") == 1
    assert await post.left() == []


async def test_an_origin_that_has_very_much_to_send_is_not_late_while_it_is_sent(post: Post) -> None:
    post.bus.pause_s = 0.01
    await post.stage(*(f"a{at}" for at in range(100)), origin="run-a", name="order.paid")
    await post.outbox.start()

    await reached(lambda: len(post.bus.sent) > 70)  # which takes longer than one event may
    late = len(post.outbox._late)
    await reached(lambda: len(post.bus.sent) == 100)
    await post.settle()

    assert late == 0
    assert await post.left() == []


async def test_closing_does_not_wait_for_what_is_late(post: Post) -> None:
    await post.stage("a1", origin="run-a")
    await post.stage("b1", origin="run-b", name="order.paid")
    await post.outbox.start()

    async with asyncio.timeout(5):
        await post.outbox.aclose()

    assert post.bus.sent == ["b1"]
    assert await post.left() == ["a1"]
