"""Prints how much was enumerated, in the end of every run of the tests."""

from collections.abc import Callable

import pytest

from tests.crashes.enumeration import Count

_counted = pytest.StashKey[dict[str, Count]]()


@pytest.fixture
def counted(pytestconfig: pytest.Config) -> Callable[[str], Count]:
    """Return what counts the histories on a database; it is shown in the end."""
    counts = pytestconfig.stash.setdefault(_counted, {})
    return lambda name: counts.setdefault(name, Count())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was enumerated."""
    for name, count in config.stash.get(_counted, dict[str, Count]()).items():
        terminalreporter.line(f"crashes, {name}: {count}")
