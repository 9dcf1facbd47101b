"""A RabbitMQ node that these tests share and treat badly, and what they tell of it in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.laboratory import Laboratory, Node
from tests.services import private_rabbit

_told = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def bad_node() -> Iterator[Node]:
    with private_rabbit() as running:
        yield running


@pytest.fixture
def lab(bad_node: Node, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Laboratory]:
    """An application of this test alone on the shared node, whose daemon is not started yet."""
    told = pytestconfig.stash.setdefault(_told, [])
    with Laboratory(bad_node, tmp_path, told.append) as laboratory:
        yield laboratory


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show how long it took after each fault until a new event was handled."""
    if told := config.stash.get(_told, []):
        terminalreporter.section("faults")
        for line in told:
            terminalreporter.line(line)
