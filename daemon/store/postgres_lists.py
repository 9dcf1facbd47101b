"""How PostgreSQL is asked for a page of runs; see `walks.Dialect`."""

import itertools
import re

from daemon.store.walks import Query, Stretch

_TEXTS = ("run_id", "workflow", "coalesce(convert_from(input, 'UTF8'), '')", "convert_from(errors, 'UTF8')")


class Lists:
    """What PostgreSQL says in its own way.

    Args:
        collation: One that knows upper and lower case.
    """

    trigger = (
        "(left(split_part(encode(trigger, 'escape'), '\"', 4) || ':' || split_part(encode(trigger, 'escape'), '\"', 8),"
        ' 300) COLLATE "C")'
    )
    counts = True

    def __init__(self, collation: str) -> None:
        self._collation = collation

    def select(self, what: str, stretch: Stretch, limit: int, skip: int = 0) -> Query:
        """Return a query for the newest of a stretch but some, newest first, along its index and no other.

        There is no way to name an index, and an estimate may be wrong by far. But an order by all its columns is to be
        had without sorting from this one alone; the planner would see through it if their values were given by `=`.
        What would end the walk but is not the first column does not: so it is counted, and looked at afterwards.
        """
        walk = stretch.walk
        columns = (*walk.columns, "key")
        places = [f"place_{number}" for number in range(len(walk.columns))]
        order = ", ".join(f"{column} DESC" for column in columns)
        along = f"({', '.join(columns)}) < ({', '.join('?' for _ in columns)})"
        inside = [along, *(f"{column} >= ?" for column in columns[:1]), *([walk.only] if walk.only else [])]
        first = stretch.place[0] if stretch.place else stretch.since
        alias = "".join(f", {column} AS {place}" for column, place in zip(walk.columns, places, strict=True))
        counted, skipped = (stretch.length, 0) if stretch.conditions else (limit, skip)
        walked = f"SELECT {what}{alias} FROM runs WHERE {' AND '.join(inside)} ORDER BY {order}"
        walked = f"{walked} LIMIT {counted} OFFSET {skipped}"
        values: list[object] = [*stretch.place, stretch.before, first]
        outside: list[Query] = [(f"{place} = ?", [value]) for place, value in zip(places, stretch.place, strict=True)]
        outside += [("key >= ?", [stretch.since]), *stretch.conditions]
        query = f"SELECT {what} FROM ({walked}) AS runs WHERE {' AND '.join(condition for condition, _ in outside)}"
        values += [value for _, some in outside for value in some]
        order = ", ".join(f"{place} DESC" for place in (*places, "key"))
        return f"{query} ORDER BY {order} LIMIT ?", [*values, limit]

    def contains(self, text: str) -> Query:
        """Return what says of a row that a text is in it, ignoring case."""
        collation = "C" if text.isascii() else self._collation  # the latter takes ten times as long
        found = " OR ".join(f"strpos({_lower(each, collation)}, {_lower('?', collation)}) > 0" for each in _TEXTS)
        return f"({found})", [text] * len(_TEXTS)


def numbered(query: str) -> str:
    """Return a query with `$1`, `$2`, ... for each `?`."""
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", query)


def _lower(text: str, collation: str) -> str:
    return f'lower(({text})::text COLLATE "{collation}") COLLATE "C"'
