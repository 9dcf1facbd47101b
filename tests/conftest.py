"""What every test may ask for: a RabbitMQ and a PostgreSQL, started when the first test asks."""

import gc
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.services import ServiceError, private_postgres, private_rabbit

CLOSING: Final = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def amqp_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a RabbitMQ. All tests share it: take an application's name that nobody else has."""
    if url := os.environ.get("SAGAD_TEST_AMQP_URL"):
        yield url
        return
    with _in_sight(pytestconfig):
        node = private_rabbit()
        node.start()
    with node:
        yield node.url


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a PostgreSQL on which databases may be created."""
    if url := os.environ.get("SAGAD_TEST_POSTGRES_URL"):
        yield url
        return
    with _in_sight(pytestconfig):
        server = private_postgres()
        server.start()
    with server:
        yield server.url


@contextmanager
def _in_sight(config: pytest.Config) -> Iterator[None]:
    """Show what bringing up a server prints, since an installation takes long, and why it failed, in that one line."""
    capture = config.pluginmanager.getplugin("capturemanager")
    failed = ""
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        try:
            yield
        except ServiceError as error:
            failed = str(error)
    if failed:
        pytest.fail(failed, pytrace=False)


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[str]:
    """The address of an empty database for this test alone."""
    name = f"sagad_{secrets.token_hex(6)}"
    await _execute(postgres_url, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    await _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class NeverRetrieved(logging.Handler):
    """Keeps what asyncio only logs: an exception that nobody looked at, a task that was dropped while it ran."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record if it tells of a lost task or exception."""
        message = record.getMessage()
        if "never retrieved" in message or "was destroyed but it is pending" in message:
            self.seen.append(self.format(record))


never_retrieved = NeverRetrieved()
logging.getLogger("asyncio").addHandler(never_retrieved)


@pytest.fixture
def closing(pytestconfig: pytest.Config) -> list[str]:
    """What is shown in the end, above pytest's own closing line, whichever process found it out."""
    return pytestconfig.stash.setdefault(CLOSING, [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a task or its exception was lost, whichever test did it."""
    gc.collect()
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["lost"] = never_retrieved.seen
        output["closing"] = session.config.stash.get(CLOSING, [])
    elif never_retrieved.seen and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what one of the processes found out that share the tests."""
    output = getattr(node, "workeroutput", {})
    never_retrieved.seen.extend(output.get("lost", []))
    node.config.stash.setdefault(CLOSING, []).extend(output.get("closing", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was lost, and what tests have to tell."""
    for text in never_retrieved.seen:
        terminalreporter.section("lost in a task", red=True)
        terminalreporter.line(text)
    for text in config.stash.get(CLOSING, []):
        terminalreporter.line(text)
