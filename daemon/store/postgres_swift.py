"""A batch in one statement on PostgreSQL, which is a transaction by itself: one round trip, and one fsync.

    gate --> locks --> go? --> claims, effects, signature

Either no guard of the whole batch refuses, and everything is written, or nothing is: then `postgres_batch` finds out,
step by step, which commits are refused. All parts of the statement see what was there before it, so it does for batches
only in which no part has to see what another one writes.

The gate is the writer's row of `batches`: it has to hold the number of the batch before, and is locked before anything
else is looked at. So a statement that is still on its way somewhere, when its connection is lost, can be made void by
changing that number, and is not under way unknown to whoever looks at the row.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain

from daemon.store.postgres_batch import Commit, arrays, distinct
from daemon.store.postgres_guards import HELD, LOCKS
from daemon.store.postgres_link import Link
from daemon.store.postgres_statements import CLAIMS, EFFECTS, Columns
from daemon.store.sql import Row
from daemon.store.writes import (
    DropOutgoing,
    ForgetReceipt,
    GiveBack,
    InsertRun,
    PutReceipt,
    PutSignal,
    ReleaseFiring,
    StageEvent,
    UpdateChild,
    UpdateRun,
    Write,
)

Rows = dict[type[Write], list[Row]]

# These change rows that another one may, too; where in a row of each is what it changes.
_MEET = (
    (InsertRun, 0, UpdateChild, -1),
    (UpdateRun, -1, UpdateChild, -1),
    (StageEvent, 0, DropOutgoing, 0),
    (PutReceipt, 4, ForgetReceipt, 4),
)
_FIRST = 5  # before that come the writer, the numbers of this batch and the one before, and how many locks there are
_NO_WORKFLOWS = "[]"
_TO_NOBODY = frozenset({GiveBack, ReleaseFiring})  # and another commit of the batch may change the same row


class Swift:
    """The statement of a batch."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        locks: defaultdict[str, dict[Row, None]] = defaultdict(dict)
        claims: defaultdict[type[Write], list[Row]] = defaultdict(list)
        effects: defaultdict[type[Write], list[Row]] = defaultdict(list)
        for commit in commits:
            for kind, row, wants in commit.guards:
                if kind in LOCKS:
                    locks[LOCKS[kind].sql][(*row, *wants)] = None
                else:
                    claims[kind].append(row)
            for kind, rows in commit.effects:
                effects[kind].extend(rows)
        # Always in the same order: then two processes do not lock each other out, and there are few statements.
        self._locks = {sql: list(locks[sql]) for sql in HELD if sql in locks}
        self._claims: Rows = {kind: claims[kind] for kind in CLAIMS if kind in claims}
        self._effects: Rows = {kind: distinct(kind, effects[kind]) for kind in EFFECTS if effects.get(kind)}

    @property
    def is_possible(self) -> bool:
        """Whether no part of it has to see what another one writes."""
        written: Rows = {**self._claims, **self._effects}
        if not _TO_NOBODY.isdisjoint(written) or any(row[-1] != _NO_WORKFLOWS for row in written.get(PutSignal, ())):
            return False
        return all(
            {row[at] for row in written[one]}.isdisjoint(row[there] for row in written[other])
            for one, at, other, there in _MEET
            if one in written and other in written
        )

    async def run(self, link: Link, writer: str, number: int, before: int) -> tuple[bool, bool]:
        """Write everything or nothing; return whether the gate was open, and whether everything was written."""
        text = _text(tuple(self._locks), tuple(self._claims), tuple(self._effects))
        parts = chain(self._locks.values(), self._claims.values(), self._effects.values())
        values = [array for rows in parts for array in arrays(rows)]
        locks = sum(map(len, self._locks.values()))
        found = await link.fetchrow(text, writer, number, before, locks, *values)
        assert found is not None  # noqa: S101 - for the type checker
        return found[0], found[1]


@cache
def _text(locks: Sequence[str], claims: Sequence[type[Write]], effects: Sequence[type[Write]]) -> str:
    at = _FIRST

    def given(columns: Columns) -> str:
        nonlocal at
        at += len(columns.types)
        return columns.given(at - len(columns.types))

    is_open, goes = "EXISTS (SELECT FROM gate)", "EXISTS (SELECT FROM go)"
    held = [HELD[lock].text.format(given=given(HELD[lock].columns), when=is_open) for lock in locks]
    inserts, free = [], []
    for kind in claims:
        claim = CLAIMS[kind]
        rows, unique = given(claim.columns), ", ".join(claim.unique)
        free.append(f" AND NOT EXISTS (SELECT FROM {rows} JOIN {claim.table} USING ({unique}))")
        inserts.append(claim.text.format(given=rows, when=goes))
    changes = [EFFECTS[kind].text.format(given=given(EFFECTS[kind].columns), when=goes) for kind in effects]
    counts = " + ".join(f"(SELECT count(*) FROM held_{number})" for number in range(len(held)))
    return (
        ", ".join(
            [
                "WITH gate AS MATERIALIZED (SELECT 1 FROM batches WHERE writer = $1 AND number = $3 FOR UPDATE)",
                *(f"held_{number} AS MATERIALIZED ({text})" for number, text in enumerate(held)),
                f"go AS MATERIALIZED (SELECT 1 WHERE {is_open} AND {counts or 0} = $4::bigint{''.join(free)})",
                *(f"part_{number} AS ({text})" for number, text in enumerate((*inserts, *changes))),
                f"signed AS (UPDATE batches SET number = $2, at = now() WHERE writer = $1 AND {goes})",
            ]
        )
        + f" SELECT {is_open}, {goes}"
    )
