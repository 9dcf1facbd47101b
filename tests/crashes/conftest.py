"""Tells how much was enumerated, in the end of every run of the tests."""

from collections.abc import Callable, Iterator

import pytest

from tests.crashes.enumeration import Count


@pytest.fixture(scope="session")
def counts() -> dict[str, Count]:
    """What was enumerated, by database."""
    return {}


@pytest.fixture
def counted(counts: dict[str, Count], closing: list[str]) -> Iterator[Callable[[str], Count]]:
    """Return what counts the histories on a database; it is shown in the end."""
    yield lambda name: counts.setdefault(name, Count())
    closing[:] = [line for line in closing if not line.startswith("crashes, ")]
    closing.extend(f"crashes, {name}: {count}" for name, count in counts.items())
