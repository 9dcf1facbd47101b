"""Small applications in folders."""

from pathlib import Path

SHOP = """
import asyncio
import threading
from datetime import timedelta

from daemon import Event, Ref, Retry, StepContext, SubscriberContext, service, step, subscriber, workflow

DAY = timedelta(days=1)


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPacked(Event, name="order.packed"):
    id: str


class Scales:
    unit = "kg"


@service
async def scales() -> Scales:
    await asyncio.sleep(0.02)  # they are slow to start
    return Scales()


@step("weigh")
def weigh(order_id: str) -> str:
    threading.Event().wait(0.05)
    return order_id


@step("pack", retry=Retry(max_attempts=3, delay=DAY, max_delay=DAY))
async def pack(order_id: str, ctx: StepContext) -> str:
    await asyncio.sleep(0.05)
    if ctx.attempt < int(ctx.options.get("packed_in_attempt", 1)):
        raise ConnectionError("nobody is here today")
    unit = (await ctx.container.aget(Scales)).unit
    ctx.emit(OrderPacked(id=order_id))
    return unit


@workflow("pack-order")
def pack_order(order_id: Ref[str]) -> Ref[str]:
    return pack(weigh(order_id))


@subscriber(OrderPlaced)
async def pack_it(event: OrderPlaced, ctx: SubscriberContext) -> None:
    await pack_order(ctx.container).run(event.id)
"""
KEPT = """
from datetime import timedelta

from daemon import workflow


@workflow("kept", retention=timedelta(days=3))
def kept() -> None:
    pass
"""
OTHER = """
from daemon import step, workflow

@step("only")
async def only() -> str:
    return "the other one"

@workflow("pack-order")
def pack_order():
    return only()
"""
CIRCLE = """
from daemon import Event, SubscriberContext, subscriber

class Turned(Event, name="turned"):
    times: int

@subscriber(Turned)
async def turn(event: Turned, ctx: SubscriberContext) -> None:
    ctx.emit(Turned(times=event.times + 1))
"""
STUCK = """
import asyncio
from datetime import timedelta

from daemon import Event, Retry, subscriber

class Stuck(Event, name="stuck"):
    pass

class Patient(Event, name="patient"):
    pass

@subscriber(Patient, timeout=timedelta(hours=1), retry=Retry(max_attempts=2))
async def wait_an_hour(event: Patient) -> None:
    await asyncio.Event().wait()

@subscriber(Stuck)
async def wait_forever(event: Stuck) -> None:
    await asyncio.Event().wait()
"""
MINUTES = """
from datetime import timedelta

from daemon import Event, JobContext, Retry, SubscriberContext, job, subscriber

class Doomed(Event, name="doomed"):
    pass

@job(timedelta(minutes=1), name="count-minutes")
async def count_minutes(ctx: JobContext) -> None:
    ctx.log.info("minute", at=ctx.scheduled_for.isoformat())

@subscriber(Doomed, retry=Retry(max_attempts=3, delay=timedelta(hours=1), max_delay=timedelta(days=1), backoff=2))
async def fail(event: Doomed, ctx: SubscriberContext) -> None:
    ctx.log.info("tried", attempt=ctx.attempt)
    raise RuntimeError("never")
"""


def application(folder: Path, *, config: str = "", **modules: str) -> Path:
    """Write an application whose modules are named `package__module`, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("config.toml").write_text(f'[app]\nname = "shop"\n{config}')
    for name, source in modules.items():
        package, _, module = name.partition("__")
        folder.joinpath(package).mkdir(exist_ok=True)
        folder.joinpath(package, f"{module}.py").write_text(source)
    return folder
