"""An application with as many handlers as one likes, for what depends on their number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.acceptance.application import Application

_SUBSCRIBER = '''"""Greets."""

from daemon import Event, Ref, SubscriberContext, step, subscriber, workflow
from pydantic import BaseModel


class Guest(BaseModel):
    name: str


class GuestCame(Event, name="guest.came-{number}"):
    id: str
    name: str


@step("greet")
async def greet(guest: Guest) -> str:
    return f"hello, {{guest.name}}"


@workflow("greet-{number}")
def greeting(guest: Ref[Guest]) -> Ref[str]:
    return greet(guest)


@subscriber(GuestCame, id="greet-guest-{number}")
async def greet_guest(event: GuestCame, ctx: SubscriberContext) -> None:
    await greeting(ctx.container).run(Guest(name=event.name))
'''

_JOB = '''"""Counts."""

from daemon import JobContext, job


@job("{minute} 3 * * *", name="count-{number}")
async def count(ctx: JobContext) -> None:
    ctx.log.info("counted")
'''


def crowd(folder: Path, size: int, settings: Mapping[str, Any] | None = None) -> Application:
    """Return an application with `size` subscribers, each with a workflow of its own, and `size` jobs."""
    application = Application(folder, settings, parts=())
    for number in range(size):
        application.add(f"subscribers/greet_{number}.py", _SUBSCRIBER.format(number=number))
        application.add(f"jobs/count_{number}.py", _JOB.format(number=number, minute=number % 60))
    return application
