"""The full scan: the cron calculator against a brute-force oracle, through every clock change of every zone.

Run: python -m benchmarks.cron_oracle [--zones 0/1] [--first 2020] [--last 2030]
"""

import argparse
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from tests.unit.schedule.comparison import calculated
from tests.unit.schedule.corpus import MINUTELY, SECONDS
from tests.unit.schedule.oracle import clock_changes, firings, timeline

_AROUND = timedelta(hours=14)
_CLOSE = timedelta(hours=2)


def main() -> None:
    """Print every difference, then the counts; exit status 1 if there is a difference."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--zones", default="0/1", help="a share of the zones: 0/2 and 1/2 are all of them")
    arguments.add_argument("--first", type=int, default=2020)
    arguments.add_argument("--last", type=int, default=2030)
    chosen = arguments.parse_args()
    share, shares = map(int, chosen.zones.split("/"))
    started, changes, compared, differences = time.perf_counter(), 0, 0, 0
    zones = _distinct(chosen.first, chosen.last)
    for zone, hours in sorted(zones.items())[share::shares]:
        for change in hours:
            changes += 1
            for around, tick, corpus in (
                (_AROUND, timedelta(minutes=1), MINUTELY),
                (_CLOSE, timedelta(seconds=1), SECONDS),
            ):
                moments = timeline(zone, change - around, change + around, tick)
                for expression in corpus:
                    wanted = firings(expression, moments)
                    compared += len(wanted)
                    if wanted != calculated(expression, zone, moments):
                        differences += 1
                        print(f"differs: {expression!r} in {zone} around {change:%Y-%m-%d %H:%M} UTC")
        print(f"{zone}: {len(hours)} changes, {time.perf_counter() - started:.0f} s", flush=True)
    print(
        f"{len(available_timezones())} zones, {len(zones)} of them with a history of their own in "
        f"{chosen.first}-{chosen.last}; looked around {changes:,} changes x {len(MINUTELY) + len(SECONDS)} "
        f"expressions: {compared:,} firings, {differences} differences, {time.perf_counter() - started:.0f} s"
    )
    raise SystemExit(differences > 0)


def _distinct(first: int, last: int) -> dict[str, list[datetime]]:
    """Return the clock changes of one zone for every history of offsets; one moment where the clock never changes."""
    histories: dict[tuple[object, ...], str] = {}
    found: dict[str, list[datetime]] = {}
    for zone in sorted(available_timezones() - {"localtime", "posixrules"}):
        hours = clock_changes(zone, first, last) or [datetime(first, 1, 2, tzinfo=UTC)]
        tzinfo = ZoneInfo(zone)
        offsets = tuple((hour, hour.astimezone(tzinfo).utcoffset()) for hour in hours)
        before = (hours[0] - timedelta(days=1)).astimezone(tzinfo).utcoffset()
        if histories.setdefault((before, offsets), zone) == zone:
            found[zone] = hours
    return found


if __name__ == "__main__":
    main()
