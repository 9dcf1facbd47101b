"""How SQLite is asked for a page of runs; see `walks.Dialect`."""

from daemon.store.walks import Query, Stretch

trigger = "(json_extract(CAST(trigger AS TEXT), '$.kind') || ':' || json_extract(CAST(trigger AS TEXT), '$.name'))"
counts = False
_PATTERN_MAX = 1_000


def select(what: str, stretch: Stretch, limit: int, skip: int = 0) -> Query:
    """Return a query for the newest of a stretch but some, newest first, along its index and no other."""
    walk = stretch.walk
    parts: list[Query] = [(f"{column} = ?", [value]) for column, value in zip(walk.columns, stretch.place, strict=True)]
    if walk.only:
        parts.append((walk.only, []))
    parts += [("key < ?", [stretch.before]), ("key >= ?", [stretch.since]), *stretch.conditions]
    along = f"INDEXED BY {walk.index}" if walk.index else ""
    query = f"SELECT {what} FROM runs {along} WHERE {' AND '.join(condition for condition, _ in parts)}"
    values = [value for _, some in parts for value in some]
    return f"{query} ORDER BY key DESC LIMIT ? OFFSET ?", [*values, limit, skip]


def contains(text: str) -> Query:
    """Return what says of a row that a text is in it, ignoring case."""
    if not text.isascii() or len(text) > _PATTERN_MAX:
        return "contains(?, run_id, workflow, input, errors)", [text]
    # LIKE knows the upper and lower case of ASCII, and takes a tenth of the time.
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    places = ("run_id", "workflow", "CAST(input AS TEXT)", "CAST(errors AS TEXT)")
    like = " OR ".join(f"{place} LIKE ? ESCAPE '\\'" for place in places)
    return f"({like})", [pattern] * len(places)
