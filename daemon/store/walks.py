"""How a page of runs is found in a store of millions: along an index, from the newest on, for a while.

A filter is met by a walk: an index that has the runs in the order of their keys; of several, the one in which they are
the farthest apart in time. What the index does not know is asked of each row on the way. So that no page takes long,
however few of the rows are wanted, the walk goes a stretch at a time, and ends early if its time is over: the page is
short then, and says where the next one goes on. No run is left out by that, and none comes twice.

Both databases are asked in the same way; a `Dialect` has what they say differently.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, TypeVar

from daemon.clock import first_id
from daemon.store.listing import matches, spellings
from daemon.store.model import RunRecord, RunStatus
from daemon.store.port import FoundRuns, RunFilter
from daemon.store.sql import RUN_COLUMNS, Row, marks, run_record

T = TypeVar("T")

Query = tuple[str, list[object]]
Asking = Generator[Query, Sequence[Row], T]
_BAD_ENDS = (RunStatus.REVERTED, RunStatus.FAILED, RunStatus.CANCELLED)
_IS_BAD_END = "status IN ('reverted', 'failed', 'cancelled')"
_STRETCH = 200
_STRETCH_MAX = 1_000
_PROBE = 500
_NAMES_MAX = 50
_AHEAD_MAX = 200
_LAST_CHARACTER = "\U0010ffff"
_LOOKED_AHEAD = "~"


@dataclass(frozen=True, slots=True)
class Walk:
    """A part of an index, or several of them, in which keys are in order.

    Attributes:
        index: Its name; empty: the primary key.
        columns: What comes before the key in it.
        places: The values of these, once for each part.
        only: Which rows it has at all, in its own words.
    """

    index: str = ""
    columns: tuple[str, ...] = ()
    places: tuple[tuple[str, ...], ...] = ((),)
    only: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked of a part of a walk: rows with keys from `since`, before `before`, of which there are `length`."""

    walk: Walk
    place: tuple[str, ...]
    since: str
    before: str
    length: int
    conditions: Sequence[Query] = ()


class Dialect(Protocol):
    """What databases say differently. A value is a `?`."""

    trigger: str
    """The kind and the name of a run's trigger, with a colon between them."""
    counts: bool
    """Whether it ends a stretch by counting its rows, not by its last key."""

    def select(self, what: str, stretch: Stretch, limit: int, skip: int = 0) -> Query:
        """Return a query for the newest of a stretch but some, newest first, along its index and no other."""

    def contains(self, text: str) -> Query:
        """Return what says of a row that a text is in it, ignoring case."""


def pages(
    dialect: Dialect, app: str, wanted: RunFilter, *, after: str | None, limit: int, is_over: Callable[[], bool]
) -> Asking[FoundRuns]:
    """Ask for a page of runs: yields queries with their values, is sent their rows, and returns the page."""
    is_ahead = after is not None and after.endswith(_LOOKED_AHEAD)
    before = _LAST_CHARACTER if after is None else after.removesuffix(_LOOKED_AHEAD)
    since = "" if wanted.since_us is None else first_id(wanted.since_us)
    walks = yield from _walks(dialect, app, wanted)
    if not all(walk.places for walk in walks):
        return FoundRuns([], None)
    walk, end = yield from _sparsest(dialect, walks, since, before)
    conditions = _conditions(dialect, app, wanted, known=walk.columns)
    if is_ahead and wanted.text is not None:
        conditions.append(("NOT (run_id >= ? AND run_id < ?)", [wanted.text, wanted.text + _LAST_CHARACTER]))
    found: list[RunRecord] = []
    length = max(_STRETCH if end is None else _PROBE, limit + 1) if conditions else limit + 1
    while True:
        stretch = Stretch(walk, (), since, before, length, conditions)
        rows, end = yield from _walked(dialect, stretch, end, limit + 1 - len(found))
        found += map(run_record, rows)
        if len(found) > limit:
            return FoundRuns(found[:limit], found[limit - 1].key + _LOOKED_AHEAD * is_ahead)
        if not end:
            return FoundRuns(found, None)
        before, end = end, None
        if is_over():
            break
        length = min(length * 2, _STRETCH_MAX)
    if after is None and wanted.text is not None:
        ahead = yield from _look_ahead(app, replace(wanted, text=None), wanted.text, before)
        if ahead is not None and len(found) + len(ahead) <= limit:
            return FoundRuns(found + ahead, before + _LOOKED_AHEAD)
    return FoundRuns(found, before + _LOOKED_AHEAD * is_ahead)


def _walks(dialect: Dialect, app: str, wanted: RunFilter) -> Asking[list[Walk]]:
    """Return the walks that lead to all that a filter wants."""
    workflow, status, trigger = wanted.workflow, wanted.status, wanted.trigger
    found = []
    if workflow is not None and status in _BAD_ENDS:
        place = (workflow, str(status), app)
        found.append(Walk("runs_by_bad_end", ("workflow", "status", "app"), (place,), _IS_BAD_END))
    else:
        if status not in (None, RunStatus.COMPLETED):
            found.append(Walk("runs_by_status", ("status", "app"), ((str(status), app),), "status <> 'completed'"))
        if workflow is not None:
            found.append(Walk("runs_by_workflow", ("workflow", "app"), ((workflow, app),)))
    if trigger is not None:
        names = [trigger] if ":" in trigger else (yield from _names(dialect, trigger))
        if len(names) <= _NAMES_MAX:
            places = tuple((name, app) for name in names)
            found.append(Walk("runs_by_trigger", (dialect.trigger, "app"), places))
    return found or [Walk()]


def _sparsest(dialect: Dialect, walks: Sequence[Walk], since: str, before: str) -> Asking[tuple[Walk, str | None]]:
    """Return the walk that comes the farthest back in time with as many runs.

    And where it is then: nowhere (empty) if there are no more of it than that, None if there was nothing to choose.
    """
    if len(walks) == 1:
        return walks[0], None
    (ends,) = yield _ends(dialect, [Stretch(walk, (), since, before, _PROBE) for walk in walks])
    farthest = min(range(len(walks)), key=lambda at: ends[at] or "")
    return walks[farthest], ends[farthest] or ""


def _conditions(dialect: Dialect, app: str, wanted: RunFilter, *, known: Sequence[str]) -> list[Query]:
    """Return what is left to be asked of each row on a walk whose index has these columns."""
    found: list[Query] = []
    if "app" not in known:
        found.append(("app = ?", [app]))
    if wanted.status is not None and "status" not in known:
        found.append(("status = ?", [wanted.status.value]))
    if wanted.workflow is not None and "workflow" not in known:
        found.append(("workflow = ?", [wanted.workflow]))
    if wanted.trigger is not None and dialect.trigger not in known:
        found.append(_has_trigger(dialect, wanted.trigger))
    if wanted.since_us is not None:
        found.append(("created_us >= ?", [wanted.since_us]))
    if wanted.text is not None:
        queries, values = zip(*map(dialect.contains, spellings(wanted.text)), strict=True)
        found.append((f"({' OR '.join(queries)})", [*chain(*values)]))
    return found


def _names(dialect: Dialect, kind: str) -> Asking[list[str]]:
    """Return the triggers of a kind, by one look into the index for each; one more than are of use, at most."""
    names: list[str] = []
    least = f"{kind}:"
    while len(names) <= _NAMES_MAX:
        of_it = f"{dialect.trigger} >= ? AND {dialect.trigger} < ?"
        query = f"SELECT {dialect.trigger} FROM runs WHERE {of_it} ORDER BY {dialect.trigger} LIMIT 1"
        rows = yield query, [least, f"{kind};"]
        if not rows:
            break
        names.append(str(rows[0][0]))
        least = names[-1] + "\x01"
    return names


def _has_trigger(dialect: Dialect, wanted: str) -> Query:
    if ":" in wanted:
        return f"{dialect.trigger} = ?", [wanted]
    return f"({dialect.trigger} >= ? AND {dialect.trigger} < ?)", [f"{wanted}:", f"{wanted};"]


def _select(dialect: Dialect, what: str, stretch: Stretch, limit: int, skip: int = 0) -> Query:
    """Return a query for the newest of all parts of a walk but some."""
    places = stretch.walk.places
    if len(places) == 1:
        return dialect.select(what, replace(stretch, place=places[0]), limit, skip)
    parts = [dialect.select(what, replace(stretch, place=place), limit + skip) for place in places]
    each = " UNION ALL ".join(f"SELECT * FROM ({query}) AS part" for query, _ in parts)
    values = [value for _, some in parts for value in some]
    return f"SELECT * FROM ({each}) AS parts ORDER BY key DESC LIMIT ? OFFSET ?", [*values, limit, skip]


def _walked(dialect: Dialect, stretch: Stretch, end: str | None, limit: int) -> Asking[tuple[Sequence[Row], str]]:
    """Return the newest runs of a stretch, and its last key: empty if the walk ends before, or if every row is wanted.

    What is counted has both from one request: between two, a run that is started would push another out of the stretch.
    """
    if stretch.conditions and dialect.counts:
        last, its_values = _ends(dialect, [stretch])
        query, values = _select(dialect, RUN_COLUMNS, stretch, limit)
        both = f"({last}) AS its(last) LEFT JOIN ({query}) AS found ON found.key >= coalesce(its.last, '')"
        rows = yield f"SELECT * FROM {both}", [*its_values, *values]
        return [row[1:] for row in rows if row[1] is not None], rows[0][0] or ""
    if stretch.conditions and end is None:
        ((end,),) = yield _ends(dialect, [stretch])
    return (yield _select(dialect, RUN_COLUMNS, replace(stretch, since=end or stretch.since), limit)), end or ""


def _ends(dialect: Dialect, stretches: Sequence[Stretch]) -> Query:
    """Return a query for the last key of each stretch, in one row; NULL if the walk ends before."""
    asked = [_select(dialect, "key", replace(each, conditions=()), 1, skip=each.length - 1) for each in stretches]
    return f"SELECT {', '.join(f'({query})' for query, _ in asked)}", [value for _, some in asked for value in some]


def _look_ahead(app: str, wanted: RunFilter, text: str, before: str) -> Asking[list[RunRecord] | None]:
    """Return those of the older runs whose id begins with a text, if they are few: somebody may have named one."""
    begins = "SELECT key FROM runs WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?"
    keys = [key for (key,) in (yield begins, [text, text + _LAST_CHARACTER, _AHEAD_MAX + 1])]
    if len(keys) > _AHEAD_MAX:
        return None
    rows = (yield f"SELECT {RUN_COLUMNS} FROM runs WHERE key IN ({marks(keys)})", keys) if keys else ()
    found = [each for each in map(run_record, rows) if each.app == app and each.key < before and matches(each, wanted)]
    return sorted(found, key=lambda each: each.key, reverse=True)
