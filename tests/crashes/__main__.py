"""Long runs: `python -m tests.crashes --seeds 1000`."""

import argparse
import sys
import tempfile
from pathlib import Path

from daemon.log import set_level
from tests.crashes.database import MemoryDatabase, SqliteDatabase
from tests.crashes.enumeration import Count, Enumeration
from tests.crashes.everything import scenarios


def main() -> int:
    """Enumerate, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description="Crash points of the engine.")
    parser.add_argument("--seeds", type=int, default=100, help="histories of chance, for each scenario")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--pairs", type=int, default=5, help="how far the points of pairs are apart; 0: no pairs")
    parser.add_argument("--only", default="", help="part of a scenario's name")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of in memory")
    asked = parser.parse_args()
    set_level("error")  # processes that were stopped warn of the runs that they lost
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        for scenario in scenarios():
            if asked.only not in scenario.name:
                continue
            before = count.points
            database = (lambda: SqliteDatabase(Path(folder))) if asked.sqlite else MemoryDatabase
            histories = Enumeration(scenario, count, database)
            histories.singles()
            histories.thaws(every=1)
            if asked.pairs:
                histories.pairs(every=asked.pairs, then=asked.pairs)
            for seed in range(asked.first, asked.first + asked.seeds):
                histories.drawn(seed)
            print(f"{scenario.name}: {count.points - before}", flush=True)  # noqa: T201 - what it is for
    print(count)  # noqa: T201 - the same
    for violation in count.violations:
        print(violation)  # noqa: T201 - the same
    return 1 if count.violations else 0


if __name__ == "__main__":
    sys.exit(main())
