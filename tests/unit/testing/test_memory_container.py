"""`memory_container`: an engine in memory and the services of a test."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from daemon import (
    DefinitionError,
    Event,
    EventBus,
    Ref,
    Retry,
    StepContext,
    WorkflowEngine,
    service,
    step,
    workflow,
)
from daemon.testing import ManualClock, memory_container
from daemon.testing.rest import Rest


class Mail:
    """Sends nothing, and keeps it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed = False


class Sender(Mail):
    """Somebody asks for this one by its base."""


class OrderPlaced(Event, name="order.placed"):
    id: str


mails: list[Mail] = []


@service
def mail() -> Iterator[Mail]:
    """Open one, and close it."""
    made = Mail()
    mails.append(made)
    yield made
    made.closed = True


@step("send-mail")
async def send_mail(text: str, ctx: StepContext) -> int:
    mail = await ctx.container.aget(Mail)
    mail.sent.append(text)
    ctx.emit(OrderPlaced(id=text))
    return len(mail.sent)


@workflow("testing-mail")
def mailing(text: Ref[str]) -> Ref[int]:
    return send_mail(text)


@step("send-mail-in-the-end", retry=Retry(max_attempts=2, delay=timedelta(days=1), max_delay=timedelta(days=1)))
async def send_in_the_end(text: str, ctx: StepContext) -> int:
    if ctx.attempt == 1:
        msg = "not today"
        raise ConnectionError(msg)
    return ctx.attempt


@workflow("testing-mail-tomorrow")
def mailing_tomorrow(text: Ref[str]) -> Ref[int]:
    return send_in_the_end(text)


async def test_a_run_that_has_ended_is_not_repeated_by_the_next_call() -> None:
    mail = Mail()

    async with memory_container(mail) as container:
        first = await mailing(container).run("hello", run_id="m1")
        second = await mailing(container).run("hello", run_id="m1")

    assert mail.sent == ["hello"]
    assert first.result == second.result == 1


async def test_runs_are_looked_at_with_the_engine() -> None:
    async with memory_container(Mail()) as container:
        await mailing(container).run("hello", run_id="m1")
        engine = await container.aget(WorkflowEngine)
        listed = await engine.list(workflow="testing-mail")

    assert [(run.run_id, run.status) for run in listed.items] == [("m1", "completed")]


async def test_events_are_published_to_nobody() -> None:
    async with memory_container() as container:
        bus = await container.aget(EventBus)
        event_id = await bus.publish(OrderPlaced(id="17"), id="placed-17")

    assert event_id == "placed-17"


async def test_an_instance_is_found_by_its_base_class() -> None:
    sender = Sender()

    async with memory_container(sender) as container:
        await mailing(container).run("hello")

    assert sender.sent == ["hello"]


async def test_a_marked_function_makes_the_service_and_closes_it_at_the_end() -> None:
    async with memory_container(mail) as container:
        await mailing(container).run("hello")
        was_closed = mails[-1].closed

    assert (mails[-1].sent, was_closed, mails[-1].closed) == (["hello"], False, True)


async def test_two_containers_know_nothing_of_each_other() -> None:
    one, other = Mail(), Mail()

    async with memory_container(one) as first, memory_container(other) as second:
        await mailing(first).run("hello", run_id="m1")
        await mailing(second).run("hello", run_id="m1")

    assert one.sent == other.sent == ["hello"]


async def test_a_retry_waits_on_the_clock_that_is_given() -> None:
    clock = ManualClock()

    async with memory_container(clock=clock) as container:
        running = asyncio.create_task(mailing_tomorrow(container).run("hello", wait=True))
        await Rest(clock, patience_s=10).advance(timedelta(days=1))
        run = await running

    assert run.result == 2


async def test_a_class_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Mail is no service: make an instance of it"):
        async with memory_container(Mail):
            pass
