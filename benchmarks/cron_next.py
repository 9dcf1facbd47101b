"""How many next firings a second the cron calculator works out, beside croniter, cronsim and APScheduler.

Run: python -m benchmarks.cron_next [--calls 5000] [--corpus]
Every call asks from the firing before, in Europe/Berlin. With `--corpus`: every expression that the calculator is
checked with, beside croniter in turns, and which one comes off worst. Ours is then asked anew for every firing, as a
timer does, while croniter goes on with its iterator; what is counted is processor time.
"""

import argparse
import statistics
import sys
import time
from datetime import UTC, datetime

from benchmarks.cron_libraries import PEERS, Firings, croniter, install, sagad, sagad_afresh
from tests.unit.schedule.corpus import CORPUS

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
LEAP_DAY = "0 0 29 2 *"
COMMAND = "python -m benchmarks.cron_next"
ZONE = "Europe/Berlin"
START = datetime(2026, 1, 1, tzinfo=UTC)
_PAIRS = 3
_PAIR_S = 0.01
_LEAPS = 10  # after so many, croniter's calendar of a leap day is near its end


def main() -> None:
    """Print the table, or the ratios of the corpus; exit status 1 if croniter is faster for an expression of it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--calls", type=int, default=5_000)
    arguments.add_argument("--corpus", action="store_true")
    chosen = arguments.parse_args()
    install()
    if chosen.corpus:
        raise SystemExit(not _faster_for_all())
    peers = {"sagad": sagad, "sagad, each call afresh": sagad_afresh, **PEERS}
    print(f"next firings a second in {ZONE}, {chosen.calls:,} calls each, by {COMMAND} --calls {chosen.calls}")
    for expression in EXPRESSIONS:
        for name, peer in peers.items():
            print(f"{expression:<16} {name:<24} {_rate_or_error(peer, expression, chosen.calls):>14}")


def _rate_or_error(peer: Firings, expression: str, calls: int) -> str:
    try:
        return f"{rate(peer, expression, calls, 1.0):,.0f}"
    except Exception as error:  # noqa: BLE001 - whatever a peer answers is the result
        return type(error).__name__


def rate(peer: Firings, expression: str, calls: int, most_s: float) -> float:
    """Return the firings a second; from the start again where the calendar of a sparse expression runs out."""
    done, spent_s = 0, 0.0
    while done < calls and spent_s < most_s:
        firings = peer(expression, ZONE, START)
        started_s = time.process_time()
        for _ in range(_LEAPS):
            next(firings)
            done += 1
        spent_s += time.process_time() - started_s
    return done / spent_s


def _faster_for_all() -> bool:
    """Print how the corpus comes off; tell whether ours is faster for every expression."""
    found = []
    for expression in CORPUS:
        ours, theirs = [], []
        for _ in range(_PAIRS):
            ours.append(rate(sagad_afresh, expression, sys.maxsize, _PAIR_S))
            theirs.append(rate(croniter, expression, sys.maxsize, _PAIR_S))
        pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        found.append((statistics.median(pairs), statistics.median(ours), statistics.median(theirs), expression))
    found.sort()
    ratios = [each[0] for each in found]
    print(f"{len(found)} expressions in {ZONE}, {_PAIRS} pairs each of {_PAIR_S * 1e3:.0f} ms, by {COMMAND} --corpus")
    print(f"x croniter: least {ratios[0]:.1f}, median {statistics.median(ratios):.1f}, most {ratios[-1]:.1f}")
    leap_day = next(each for each in found if each[-1] == LEAP_DAY)
    for what, (ratio, mine, other, expression) in (
        ("the least", found[0]),
        ("the next", found[1]),
        ("a leap day", leap_day),
        ("the most", found[-1]),
    ):
        print(f"{what:<10} {expression:<28} x {ratio:<6.1f} {mine:>10,.0f} a second, croniter {other:>8,.0f}")
    print(f"our slowest: {min(each[1] for each in found):,.0f} a second; croniter's: {min(e[2] for e in found):,.0f}")
    return ratios[0] > 1


if __name__ == "__main__":
    main()
