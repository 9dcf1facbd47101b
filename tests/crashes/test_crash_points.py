"""Wherever processes die, every run ends once, and nothing is lost, repeated without need, or left undone."""

from collections.abc import Callable
from pathlib import Path

from tests.crashes.database import PostgresDatabase, SqliteDatabase
from tests.crashes.enumeration import Count, Enumeration
from tests.crashes.everything import scenarios
from tests.services import shared_schema

_SEEDS = 20


def test_no_crash_in_any_place_breaks_a_promise(counted: Callable[[str], Count]) -> None:
    count = counted("in memory")
    for scenario in scenarios():
        histories = Enumeration(scenario, count)
        histories.singles()
        histories.thaws(every=2)
        histories.pairs(every=9, then=9)
        for seed in range(_SEEDS):
            histories.drawn(seed)

    assert not count.violations, "\n".join(count.violations[:20])
    assert count.points > 10_000


def test_no_crash_on_sqlite_breaks_a_promise(counted: Callable[[str], Count], tmp_path: Path) -> None:
    count = counted("on SQLite")
    for at, scenario in enumerate(scenarios()):
        histories = Enumeration(scenario, count, lambda: SqliteDatabase(tmp_path))
        histories.singles(every=31)
        histories.drawn(at)

    assert not count.violations, "\n".join(count.violations[:20])
    assert count.points > 200


def test_no_crash_on_postgres_breaks_a_promise(counted: Callable[[str], Count], postgres_url: str) -> None:
    count = counted("on PostgreSQL")
    with shared_schema(postgres_url) as schema:
        database = PostgresDatabase(postgres_url, schema)
        try:
            for at, scenario in enumerate(scenarios()):
                histories = Enumeration(scenario, count, lambda: database)
                histories.singles(every=21)
                histories.drawn(at)
        finally:
            database.end()

    assert not count.violations, "\n".join(count.violations[:20])
    assert count.points > 300
