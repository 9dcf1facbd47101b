"""Many commits in one transaction on PostgreSQL, by few statements.

    commits --> [ locks --> claims ] --> ... --> what they change, by kind --> COMMIT

Commits whose guards do not depend on each other are asked about together; one whose guard looks at what others before
it do has all of that written first. So each sees what earlier ones of the batch wrote, and none depends on later ones.
"""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from daemon.store.postgres_guards import LOCKS, OTHERS, Lock
from daemon.store.postgres_link import Link, kept
from daemon.store.postgres_statements import CLAIMS, EFFECTS
from daemon.store.sql import Row
from daemon.store.statements import STATEMENTS
from daemon.store.writes import (
    InsertRun,
    Outcome,
    UpdateRun,
    Write,
)

Guard = tuple[type[Write], Row, Row]  # what of, and the values: of a lock, the key and what it wants


class Commit:
    """Writes that belong together, encoded: nothing that happens to their records later is seen.

    Attributes:
        is_plain: Whether its guards can be asked together with those of other commits.
        depends, changes: The rows that its guards depend on, and those of which they may make something else.
    """

    __slots__ = ("changes", "depends", "effects", "firsts", "future", "guards", "hints", "is_plain")

    def __init__(self, writes: Sequence[Write], future: asyncio.Future[Outcome]) -> None:
        self.future = future
        self.hints = False
        self.is_plain = True
        self.firsts: list[tuple[str, Row]] = []
        self.guards: list[Guard] = []
        self.effects: list[tuple[type[Write], Sequence[Row]]] = []
        self.depends: list[Hashable] = []
        self.changes: list[Hashable] = []
        for write in writes:
            kind = type(write)
            if (effect := EFFECTS.get(kind)) is not None:
                self.effects.append((kind, effect.rows(write)))
            if (lock := LOCKS.get(kind)) is not None:
                self._add_lock(kind, lock, write)
            elif kind in CLAIMS:
                self._add_claim(kind, write)
            elif kind in OTHERS:
                self._add_other(kind, write)
            if (hints := STATEMENTS[kind].hints) is not None and hints(write):
                self.hints = True
        if self.changes and not set(self.changes).isdisjoint(self.depends):
            self.is_plain = False

    def _add_lock(self, kind: type[Write], lock: Lock, write: Write) -> None:
        key = lock.key(write)
        self.guards.append((kind, key, lock.wants(write)))
        (self.changes if lock.changes else self.depends).append((lock.sql, key))

    def _add_claim(self, kind: type[Write], write: Write) -> None:
        claim = CLAIMS[kind]
        row = claim.row(write)
        if any(other in CLAIMS for other, _, _ in self.guards):
            self.is_plain = False  # What the first has inserted is taken back if the second refuses.
        self.guards.append((kind, row, claim.identity(row)))
        self.changes.append((kind, claim.identity(row)))
        if isinstance(write, InsertRun):
            lock = LOCKS[UpdateRun]
            self.changes += [
                (lock.sql, (write.record.key,)),
                (kind, write.record.app, write.record.run_id, write.record.attempt),
            ]

    def _add_other(self, kind: type[Write], write: Write) -> None:
        other = OTHERS[kind]
        self.is_plain = False
        self.guards.append((kind, other.row(write), ()))
        if other.first is not None:
            self.firsts.append(other.first(write))

    def clean(self) -> bool:
        """Replace what PostgreSQL cannot keep in a text: NUL; tell whether there was any."""
        guards = [(kind, _kept(row), _kept(wants)) for kind, row, wants in self.guards]
        effects = [(kind, [_kept(row) for row in rows]) for kind, rows in self.effects]
        before = [(kind, list(rows)) for kind, rows in self.effects]
        if (guards, effects) == (self.guards, before):
            return False
        self.guards, self.effects = guards, [*effects]
        return True


def _kept(row: Row) -> Row:
    return tuple(kept(value) if isinstance(value, str) else value for value in row)


def in_groups(commits: Sequence[Commit]) -> list[list[Commit]]:
    """Return commits in their order, in groups whose guards can be asked together; one that cannot is alone."""
    groups: list[list[Commit]] = []
    together: list[Commit] = []
    changed: set[Hashable] = set()
    for commit in commits:
        if not (
            together
            and commit.is_plain
            and together[-1].is_plain
            and changed.isdisjoint(commit.depends)
            and changed.isdisjoint(commit.changes)
        ):
            together, changed = [], set()
            groups.append(together)
        together.append(commit)
        changed.update(commit.changes)
    return groups


class Batch:
    """One transaction under way."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._effects: defaultdict[type[Write], list[Row]] = defaultdict(list)

    async def run(self, groups: Iterable[Sequence[Commit]]) -> list[Outcome]:
        """Apply commits in their order, and return what becomes of each if the transaction is committed."""
        outcomes: list[Outcome] = []
        for commits in groups:
            if commits[0].is_plain:
                outcomes += await self._run_together(commits)
            else:
                await self._flush()
                outcomes.append(await self._run_alone(commits[0]))
        await self._flush()
        return outcomes

    async def _run_together(self, commits: Sequence[Commit]) -> list[Outcome]:
        refused = await self._refused_locks(commits)
        asked = [commit for commit in commits if commit not in refused]
        refused |= await self._refused_claims(asked)
        for commit in asked:
            if commit not in refused:
                self._add(commit)
        if any(kind in LOCKS and LOCKS[kind].changes for commit in commits for kind, _, _ in commit.guards):
            await self._flush()
        return [refused.get(commit, Outcome.APPLIED) for commit in commits]

    async def _refused_locks(self, commits: Iterable[Commit]) -> dict[Commit, Outcome]:
        wanted: defaultdict[str, dict[Row, None]] = defaultdict(dict)
        locks = [
            (commit, LOCKS[kind].sql, key, wants)
            for commit in commits
            for kind, key, wants in commit.guards
            if kind in LOCKS
        ]
        for _, sql, key, _ in locks:
            wanted[sql][key] = None
        held = {sql: await self._lock(sql, list(keys)) for sql, keys in wanted.items()}
        return {commit: Outcome.FENCED for commit, sql, key, wants in locks if held[sql].get(key) != wants}

    async def _refused_claims(self, commits: Iterable[Commit]) -> dict[Commit, Outcome]:
        claims: defaultdict[type[Write], list[tuple[Commit, Row, Row]]] = defaultdict(list)
        for commit in commits:
            for kind, row, identity in commit.guards:
                if kind in CLAIMS:
                    claims[kind].append((commit, row, identity))
        refused = {}
        for kind, claimed in claims.items():
            new = await self._claim(kind, [row for _, row, _ in claimed])
            refused.update({commit: Outcome.CONFLICT for commit, _, identity in claimed if identity not in new})
        return refused

    async def _lock(self, sql: str, keys: Sequence[Row]) -> dict[Row, Row]:
        width = len(keys[0])
        return {tuple(row[:width]): tuple(row[width:]) for row in await self._link.fetch(sql, *arrays(keys))}

    async def _claim(self, kind: type[Write], rows: Sequence[Row]) -> set[Row]:
        return set(map(tuple, await self._link.fetch(CLAIMS[kind].sql, *arrays(rows))))

    async def _run_alone(self, commit: Commit) -> Outcome:
        """Ask the guards one by one, and take back what they have changed if one of them refuses."""
        for sql, row in commit.firsts:
            await self._link.execute(sql, *row)
        writing = [at for at, (kind, _, _) in enumerate(commit.guards) if kind in CLAIMS or OTHERS_WRITE.get(kind)]
        is_to_take_back = any(at < len(commit.guards) - 1 for at in writing)
        if is_to_take_back:
            await self._link.execute("SAVEPOINT guards")
        refused = await self._refusal(commit.guards)
        if refused is None:
            self._add(commit)
        elif is_to_take_back:
            await self._link.execute("ROLLBACK TO guards")
        if is_to_take_back:
            await self._link.execute("RELEASE guards")
        # The next may look back at it, or ask again about rows that it changes.
        await self._flush()
        return refused or Outcome.APPLIED

    async def _refusal(self, guards: Iterable[Guard]) -> Outcome | None:
        for kind, row, wants in guards:
            if kind in LOCKS:
                if (await self._lock(LOCKS[kind].sql, [row])).get(row) != wants:
                    return Outcome.FENCED
            elif kind in CLAIMS:
                if not await self._claim(kind, [row]):
                    return Outcome.CONFLICT
            elif await self._link.fetchrow(OTHERS[kind].sql, *row) is None:
                return Outcome.CONFLICT
        return None

    def _add(self, commit: Commit) -> None:
        for kind, rows in commit.effects:
            self._effects[kind].extend(rows)

    async def _flush(self) -> None:
        """Write what waits, by kind."""
        for kind, effect in EFFECTS.items():
            if rows := self._effects.pop(kind, None):
                await self._link.execute(effect.sql, *arrays(distinct(kind, rows)))


OTHERS_WRITE = {kind: other.writes for kind, other in OTHERS.items()}


def distinct(kind: type[Write], rows: list[Row]) -> list[Row]:
    """Return those rows of an effect that count."""
    identity = EFFECTS[kind].identity
    if identity is None or len(rows) < 2:  # noqa: PLR2004 - what is alone has no other
        return rows
    return list({identity(row): row for row in rows}.values())


def arrays(rows: Sequence[Row]) -> list[list[Any] | None]:
    """Return the values of rows by column; None for a column of None alone, which means the same to `unnest`."""
    count = len(rows)
    return [None if column.count(None) == count else list(column) for column in zip(*rows, strict=True)]
