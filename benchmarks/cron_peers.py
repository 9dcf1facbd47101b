"""The corpus against APScheduler's own trigger, croniter and cronsim: what each makes of it that cron does not.

Run: python -m benchmarks.cron_peers [--write docs/cron-differences.md]
First every expression in UTC, where no clock changes; those that mean the same there then around two clock changes of
every shape. A difference that has no cause below is an error: the page explains every one.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.cron_libraries import PEERS, PINNED, Firings, install, sagad
from tests.unit.schedule.corpus import CORPUS, TRICKY, ZONES
from tests.unit.schedule.oracle import Rules, clock_changes

# What `docs/cron-differences.md` explains, under these headings and in this order.
REFUSED, NUMBERS, EITHER, STARRED, STEPS, WHOLE_WEEK = (
    "Valid, and refused",
    "Weekdays have other numbers",
    "Both day fields have to match",
    "A day field that starts with a star",
    "A step is ignored",
    "A range of one weekday",
)
LOST, LATE, EXTRA, LATER, TWICE, PASS, CORRECTION, SECONDS, STUCK = (
    "A skipped time is lost",
    "A skipped time fires late",
    "A firing that follows the clock and still comes after a gap",
    "A firing after the change is lost",
    "A time that comes twice fires twice",
    "One of two passes is lost",
    "A change of three hours or more",
    "Six fields are treated otherwise than five",
    "It never gets past a time",
)
CAUSES = (
    *(REFUSED, NUMBERS, EITHER, STARRED, STEPS, WHOLE_WEEK),
    *(LOST, LATE, EXTRA, LATER, TWICE, PASS, CORRECTION, SECONDS, STUCK),
)

_START = datetime(2026, 1, 1, tzinfo=UTC)
_COUNT, _SIX = 60, 6
_BEFORE, _AFTER, _LONG_AFTER = timedelta(hours=4), timedelta(hours=26), timedelta(days=33)
_SPARSE, _DENSE, _SOON_AFTER = 50, 5_000, timedelta(hours=4)
_CORRECTION = timedelta(hours=3)
_MARKS = ("<!-- made by benchmarks/cron_peers.py -->\n", "<!-- end -->\n")
_SHOWN = 3


@dataclass(frozen=True)
class Difference:
    """What a peer makes of an expression that cron does not.

    Attributes:
        due: The firings that cron has and the peer has not, in UTC; the first few.
        instead: The other way round; or the sentence that it refuses the expression with.
    """

    peer: str
    expression: str
    cause: str
    zone: str
    due: tuple[datetime, ...]
    instead: tuple[datetime, ...] | str


@dataclass(frozen=True)
class Change:
    """A clock change: the instant, and by how much the clock is set forward."""

    zone: str
    instant: datetime
    shift: timedelta


def main() -> None:
    """Print the tables, or write them into the page."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", type=Path, metavar="PAGE")
    chosen = arguments.parse_args()
    install()
    tables = "\n".join(tables_of([each for name in PEERS for each in differences(name)]))
    if chosen.write is None:
        print(tables)
        return
    page = chosen.write.read_text()
    first, last = (page.index(mark) for mark in _MARKS)
    chosen.write.write_text(f"{page[: first + len(_MARKS[0])]}\n{tables}\n{page[last:]}")


def differences(name: str) -> Iterator[Difference]:
    """Yield what differs of one peer: for each expression and cause the first that shows it."""
    peer, plain = PEERS[name], []
    for expression in CORPUS:
        difference = _in_utc(name, expression)
        if difference is None:
            plain.append(expression)
        else:
            yield difference
    seen: set[tuple[str, str]] = set()
    for zone in ZONES:
        print(f"{name}: {zone}", file=sys.stderr)  # it takes minutes
        for change in _changes(zone):
            for expression in plain:
                due, instead = _around(peer, expression, change)
                if due or instead:
                    cause = _cause_of_change(name, expression, change, due, instead)
                    if (expression, cause) not in seen:
                        seen.add((expression, cause))
                        yield Difference(name, expression, cause, zone, tuple(due[:_SHOWN]), tuple(instead[:_SHOWN]))


def _in_utc(name: str, expression: str) -> Difference | None:
    wanted = list(islice(sagad(expression, "UTC", _START), _COUNT))
    try:
        found = list(islice(PEERS[name](expression, "UTC", _START), _COUNT))
    except Exception as error:  # noqa: BLE001 - each has its own
        return Difference(name, expression, REFUSED, "UTC", tuple(wanted[:_SHOWN]), str(error))
    if found == wanted:
        return None
    end = min(wanted[-1], found[-1]) if found else wanted[-1]
    due = tuple(each for each in wanted if each not in found and each <= end)[:_SHOWN]
    instead = tuple(each for each in found if each not in wanted and each <= end)[:_SHOWN]
    return Difference(name, expression, _cause_of_text(name, expression), "UTC", due, instead)


def _cause_of_text(name: str, expression: str) -> str:
    day, _, weekday = expression.split()[-3:]
    is_starred = day.startswith("*/") or weekday.startswith("*")
    if name == "APScheduler":
        if re.search(r"[a-z]/", weekday):
            return STEPS
        if day != "*" and weekday != "*" and not is_starred:
            return EITHER
        if re.search(r"\d", weekday):
            return NUMBERS
    if name == "croniter":
        first, _, last = weekday.partition("-")
        if first == last:
            return WHOLE_WEEK
        if is_starred:
            return STARRED
    raise ValueError(f"nothing explains what {name} makes of {expression!r}")


def _changes(zone: str) -> Iterator[Change]:
    """Yield one change forward and one back, to the minute; both are among the first two of a decade."""
    tzinfo = ZoneInfo(zone)
    for hour in clock_changes(zone, 2020, 2030)[:2]:
        minutes = [hour - timedelta(minutes=each) for each in range(120, -1, -1)]
        before = minutes[0].astimezone(tzinfo).utcoffset() or timedelta(0)
        instant = next(each for each in minutes if each.astimezone(tzinfo).utcoffset() != before)
        yield Change(zone, instant, (instant.astimezone(tzinfo).utcoffset() or timedelta(0)) - before)


def _around(peer: Firings, expression: str, change: Change) -> tuple[list[datetime], list[datetime]]:
    """Return the firings around a change that cron alone has, and those that the peer alone has."""
    first, last = change.instant - _BEFORE, change.instant + _LONG_AFTER
    wanted = list(islice(_until(last, sagad(expression, change.zone, first)), _SPARSE))
    if len(wanted) == _SPARSE:
        last = change.instant + _AFTER
        wanted = list(islice(_until(last, sagad(expression, change.zone, first)), _DENSE))
    if len(wanted) == _DENSE:
        last = change.instant + _SOON_AFTER
        wanted = list(_until(last, sagad(expression, change.zone, first)))
    found = list(_until(last, peer(expression, change.zone, first)))
    if found == wanted:
        return [], []
    if len(found) > 1 and found[-1] <= found[-2]:
        return sorted(set(wanted) - set(found)), found[-2:]
    return sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))


def _until(last: datetime, firings: Iterable[datetime]) -> Iterator[datetime]:
    """Yield firings to a time; one that does not come after the one before is the last."""
    before = datetime.min.replace(tzinfo=UTC)
    for firing in firings:
        moment = firing.astimezone(UTC)
        if moment > last:
            return
        yield moment
        if moment <= before:
            return
        before = moment


def _cause_of_change(name: str, expression: str, change: Change, due: list[datetime], instead: list[datetime]) -> str:
    if len(instead) > 1 and instead[0] >= instead[1]:
        return STUCK
    if abs(change.shift) >= _CORRECTION:
        return CORRECTION
    if name == "cronsim" and len(expression.split()) == _SIX and not Rules(expression).wild:
        return SECONDS
    if change.shift > timedelta(0):
        return _cause_of_gap(expression, change, due, instead)
    if due and due[0] > change.instant - change.shift:
        return LATER
    return PASS if due else TWICE


def _cause_of_gap(expression: str, change: Change, due: list[datetime], instead: list[datetime]) -> str:
    if not due:
        return EXTRA
    if Rules(expression).wild or due[0] != change.instant:
        return LATER
    return LATE if instead else LOST


def tables_of(found: list[Difference]) -> Iterator[str]:
    """Yield the lines of the tables."""
    by_cause: dict[str, dict[str, list[Difference]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        by_cause[each.cause][each.peer].append(each)
    names = list(PEERS)
    yield f"{len(CORPUS)} expressions; APScheduler {_version('apscheduler')}, {', '.join(PINNED).replace('==', ' ')}."
    yield ""
    yield f"| expressions for which | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for cause in CAUSES:
        counts = [len(by_cause[cause][name]) or "" for name in names]
        yield f"| [{cause.lower()}](#{_anchor(cause)}) | {' | '.join(map(str, counts))} |"
    alike = [len(CORPUS) - len({each.expression for each in found if each.peer == name}) for name in names]
    yield f"| it does all that cron does | {' | '.join(map(str, alike))} |"
    yield ""
    yield "| | expression | zone | cron fires | it fires |"
    yield "|---|---|---|---|---|"
    for cause in CAUSES:
        for name in names:
            if by_cause[cause][name]:
                yield _row(cause, by_cause[cause][name][0])
    yield ""
    yield f"| by name | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for expression in TRICKY:
        cells = []
        for name in names:
            causes = [each.cause.lower() for each in found if (each.expression, each.peer) == (expression, name)]
            cells.append("; ".join(causes) or "as cron")
        yield f"| `{expression}` | {' | '.join(cells)} |"


def _row(cause: str, shown: Difference) -> str:
    due = _moments(shown.due, shown.zone) or "not then"
    if isinstance(shown.instead, str):
        instead = f"never: “{shown.instead.rstrip('.')}”"
    else:
        instead = _moments(shown.instead, shown.zone) or "not then"
    return f"| {shown.peer}: {cause.lower()} | `{shown.expression}` | {shown.zone} | {due} | {instead} |"


def _moments(moments: Iterable[datetime], zone: str) -> str:
    local = [each.astimezone(ZoneInfo(zone)) for each in moments]
    return ", ".join(f"{each:%a %Y-%m-%d %H:%M{':%S' if each.second else ''}%z}" for each in local)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def _version(distribution: str) -> str:
    from importlib.metadata import version  # noqa: PLC0415 - this one line needs it

    return version(distribution)


if __name__ == "__main__":
    main()
