"""Everybody enters an order into a ledger, each in a way of its own; what goes wrong meanwhile, the order says.

`left` has the effect itself, and emits an event that `echo` takes; `right` has it in a durable run; `straight` is
ordered. The ledger is the file `ledger`, a JSON array a line.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon import (
    Event,
    Ref,
    Reject,
    Retry,
    StepContext,
    SubscriberContext,
    emit,
    step,
    subscriber,
    transform,
    workflow,
)

AGAIN = Retry(max_attempts=11, delay=timedelta(seconds=0.8), backoff=1)


class OrderPlaced(Event, name="order.placed"):
    """An order.

    Attributes:
        pause_s: How long handling it takes, in seconds.
        slow_s: How much longer `left` takes.
        fails: How many attempts of `left` fail.
        held: It is handled once the file `gate` is there.
        rejected: Nobody takes it, before the file `mended` is there.
        kills: The subscriber whose process dies of it, before that.
    """

    id: str
    pause_s: float = 0
    slow_s: float = 0
    fails: int = 0
    held: bool = False
    rejected: bool = False
    kills: str = ""


class OrderEntered(Event, name="order.entered"):
    """What `left` says of an order."""

    id: str


class Entry(BaseModel):
    """What is entered by a run."""

    subscriber: str
    order: str


def enter(options: Mapping[str, Any], what: str, who: str, order: str, key: str) -> None:
    """Write a line; the processes die, the machine does not: one `write` is enough.

    Its key is that by which whoever has the effect could recognise that it was had before.
    """
    line = json.dumps([time.time(), os.getpid(), what, who, order, key]) + "\n"
    file = os.open(options["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


async def handle(who: str, event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Do all but have the effect."""
    enter(ctx.options, "begun", who, event.id, ctx.event.id)
    mended = Path(ctx.options["mended"]).exists()
    if event.kills == who and not mended:
        os.kill(os.getpid(), signal.SIGKILL)
    while event.held and not Path(ctx.options["gate"]).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    await asyncio.sleep(event.pause_s + (event.slow_s if who == "left" else 0))
    if event.rejected and not mended:
        raise Reject("as it was told to")
    if who == "left" and ctx.attempt <= event.fails:
        raise RuntimeError("try again")


@step("enter")
async def enter_entry(entry: Entry, ctx: StepContext) -> str:
    """Have the effect."""
    enter(ctx.options, "done", entry.subscriber, entry.order, ctx.idempotency_key)
    return entry.order


@workflow("enter-order")
def enter_order(entry: Ref[Entry]) -> Ref[str]:
    """Enter it."""
    return enter_entry(entry)


@workflow("announce-order")
def announce_order(order: Ref[str]) -> None:
    """Say that it is entered."""
    emit(transform(order, lambda o: OrderEntered(id=o)))


@subscriber(OrderPlaced, id="left", retry=AGAIN)
async def left(event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Have the effect, and say so."""
    await handle("left", event, ctx)
    enter(ctx.options, "done", "left", event.id, ctx.event.id)
    ctx.emit(OrderEntered(id=event.id))


@subscriber(OrderPlaced, id="right", retry=AGAIN)
async def right(event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Have the effect in a run."""
    await handle("right", event, ctx)
    await enter_order(ctx.container).run(Entry(subscriber="right", order=event.id))


@subscriber(OrderPlaced, id="straight", ordered=True, retry=AGAIN)
async def straight(event: OrderPlaced, ctx: SubscriberContext) -> None:
    """Have the effects in the order of the queue."""
    await handle("straight", event, ctx)
    enter(ctx.options, "done", "straight", event.id, ctx.event.id)


@subscriber(OrderEntered, id="echo", retry=AGAIN)
async def echo(event: OrderEntered, ctx: SubscriberContext) -> None:
    """Have an effect of the emitted event."""
    enter(ctx.options, "done", "echo", event.id, ctx.event.id)
