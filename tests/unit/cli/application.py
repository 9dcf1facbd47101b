"""The application that the commands' tests work on."""

from pathlib import Path

CONFIG = """
[app]
name = "shop"
[http]
enabled = false
[options.greet]
secret = "geheim"
"""
WORKFLOWS = """
import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from daemon import Ref, parallelize, step, transform, workflow


class Person(BaseModel):
    name: str
    age: int = 0


@step("reserve")
async def reserve(person: Person) -> str:
    return person.name


@reserve.compensate
async def release(name: str) -> None:
    pass


@step("greet")
async def greet(name: str) -> str:
    return f"hello, {name}"


@step("count")
async def count(name: str) -> int:
    return len(name)


@step("break")
async def break_() -> None:
    raise RuntimeError("out of order")


@step("hang")
async def hang() -> None:
    Path("hanging").touch()
    await asyncio.Event().wait()


@workflow("welcome")
def welcome(person: Ref[Person]) -> Ref[str]:
    name = reserve(person)
    greeting, size = parallelize(greet(name), count(name))
    return transform(greeting, size, lambda text, letters: f"{text} ({letters})")


@workflow("broken")
def broken(person: Ref[Person]) -> None:
    reserve(person)
    break_()


@workflow("hanging")
def hanging() -> None:
    hang()
"""
SUBSCRIBERS = """
from typing import Any

from daemon import Event, Reject, subscriber


class CustomerCreated(Event, name="customer.created"):
    id: str


@subscriber(CustomerCreated)
async def greet(event: CustomerCreated) -> None:
    raise Reject(f"{event.id} is not welcome")


@subscriber("customer.*")
async def audit(event: dict[str, Any]) -> None:
    raise Reject("the books are closed")
"""
JOBS = """
from daemon import job


@job("30 2 * * *", timezone="Europe/Berlin")
async def nightly() -> None:
    pass
"""


def write(folder: Path, name: str, text: str) -> None:
    """Write a file of an application."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def write_application(folder: Path) -> Path:
    """Write the application, and return its folder."""
    write(folder, "config.toml", CONFIG)
    write(folder, "workflows/welcome.py", WORKFLOWS)
    write(folder, "subscribers/customers.py", SUBSCRIBERS)
    write(folder, "jobs/nightly.py", JOBS)
    return folder
