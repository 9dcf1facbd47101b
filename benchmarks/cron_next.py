"""How many next firings a second the cron calculator works out, beside croniter, cronsim and APScheduler.

Run: python benchmarks/cron_next.py [CALLS]
Every call asks from the firing before, in Europe/Berlin. A peer that is missing is reported as not installed, and one
that refuses the expression or ends as such.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from zoneinfo import ZoneInfo

from daemon.schedule.cron import Cron

EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "0 3 * * *",
    "30 4 1,15 * 5",
    "0 0 * * mon",
    "0 0 1 1 *",
    "59 23 31 12 *",
    "0 0 29 2 *",
    "0 0 29 2 */100",
)
ZONE = "Europe/Berlin"
START = datetime(2026, 1, 1, tzinfo=UTC)


def sagad(expression: str) -> Iterator[Any]:
    """Go on with one iterator."""
    return Cron(expression, ZONE).upcoming(START)


def sagad_afresh(expression: str) -> Iterator[Any]:
    """Ask anew for every firing, as a timer does."""
    cron, after = Cron(expression, ZONE), START
    while True:
        after = next(cron.upcoming(after))
        yield after


def croniter(expression: str) -> Iterator[Any]:
    """Go on with one iterator."""
    peer = import_module("croniter").croniter
    return iter(peer(expression, START.astimezone(ZoneInfo(ZONE)), ret_type=datetime))


def cronsim(expression: str) -> Iterator[Any]:
    """Go on with one iterator."""
    return iter(import_module("cronsim").CronSim(expression, START.astimezone(ZoneInfo(ZONE))))


def apscheduler(expression: str) -> Iterator[Any]:
    """Ask its trigger anew for every firing."""
    trigger = import_module("apscheduler.triggers.cron").CronTrigger.from_crontab(expression, timezone=ZONE)
    after = START
    while True:
        after = trigger.get_next_fire_time(after, after)
        yield after


PEERS: dict[str, Callable[[str], Iterator[Any]]] = {
    "sagad": sagad,
    "sagad, each call afresh": sagad_afresh,
    "croniter": croniter,
    "cronsim": cronsim,
    "apscheduler": apscheduler,
}


def rate(make: Callable[[str], Iterator[Any]], expression: str, calls: int) -> str:
    """Return the firings a second; from the start again where the calendar of a sparse expression runs out."""
    done, spent_s = 0, 0.0
    try:
        while done < calls and spent_s < 1.0:
            firings = make(expression)
            started_s = time.perf_counter()
            for _ in range(min(50, calls)):
                next(firings)
                done += 1
            spent_s += time.perf_counter() - started_s
    except Exception as error:  # noqa: BLE001 - whatever a peer answers is the result
        return type(error).__name__
    return f"{done / spent_s:,.0f}"


def main() -> None:
    """Print the table."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    print(f"next firings a second in {ZONE}, {calls:,} calls each, by python {sys.argv[0]} {calls}")
    for expression in EXPRESSIONS:
        for name, make in PEERS.items():
            missing = not name.startswith("sagad") and find_spec(name) is None
            print(f"{expression:<16} {name:<24} {'not installed' if missing else rate(make, expression, calls):>14}")


if __name__ == "__main__":
    main()
