"""Runs in this process's memory."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from daemon.clock import first_id
from daemon.store.listing import matches
from daemon.store.memory_rows import (
    APP,
    ATTEMPT,
    CANCEL,
    EPOCH,
    OWNER,
    ROOT,
    RUN_ID,
    STATUS,
    WAITING_FOR,
    WORKFLOW,
    Row,
    row_of_run,
    run_of,
)
from daemon.store.model import QUEUED, RunRecord, RunStatus
from daemon.store.port import FoundRuns, RunFilter
from daemon.store.writes import (
    FenceRun,
    GiveBack,
    InsertRun,
    Outcome,
    ReopenRun,
    RequestCancel,
    RequireEnded,
    TakePlace,
    UpdateChild,
    UpdateRun,
)

_LIVE = frozenset(status for status in RunStatus if not status.ended)

Undo = list[Callable[[], object]] | None


class MemoryRuns:
    """Runs by their key. What it hands out are copies.

    A child is neither among the unended nor among the ended: it is there as long as the run at the top is.

    A write that is a guard returns why it refuses, or leaves in `undo`, if there is one, how to take it back.

    Args:
        keep_ended: How many runs that have ended are kept.
        forgotten: Called with the key of a run that is not kept any longer.
        hint: Called when a run belongs to nobody, or is to be cancelled, or made a place free.
    """

    def __init__(self, keep_ended: int, *, forgotten: Callable[[str], object], hint: Callable[[], object]) -> None:
        self._keep_ended = keep_ended
        self._forgotten = forgotten
        self._hint = hint
        self._runs: dict[str, Row] = {}
        self._attempts: dict[tuple[str, str], tuple[str, ...]] = {}  # the keys of all attempts, by app and run id
        self._unended: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # by app and workflow
        self._queued: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # of these, those without a place
        self._ended: OrderedDict[str, None] = OrderedDict()  # the one that ended first comes first
        self._children: dict[str, list[str]] = {}  # by the run at the top

    def insert(self, write: InsertRun, undo: Undo = None) -> Outcome | None:
        """Start a run."""
        record = write.record
        attempts = self._attempts.get((record.app, record.run_id), ())
        if record.key in self._runs or (attempts and record.attempt in map(self._attempt, attempts)):
            return Outcome.CONFLICT
        self._attempts[record.app, record.run_id] = (*attempts, record.key)
        if undo is not None:
            undo.append(lambda: self._forget(record.key))
        if record.root_key is not None:
            self._children.setdefault(record.root_key, []).append(record.key)
        self._put(record)
        return None

    def update(self, write: UpdateRun, undo: Undo = None) -> Outcome | None:
        """Replace what may change in a run."""
        record = write.record
        before = self._runs.get(record.key)
        if before is None or before[EPOCH] != record.epoch or before[OWNER] != record.owner:
            return Outcome.FENCED
        if undo is not None:
            undo.append(lambda: self._put(run_of(before)))
        self._put(record if before[CANCEL] is None else replace(record, cancel_us=before[CANCEL]))
        if write.hint:
            self._hint()
        return None

    def update_child(self, write: UpdateChild) -> None:
        """Replace what may change in a child."""
        before = self._runs.get(write.record.key)
        if before is not None and before[ROOT] is not None:
            self._put(write.record)

    def fence(self, write: FenceRun, _undo: Undo = None) -> Outcome | None:
        """Refuse if a run is owned by another."""
        row = self._runs.get(write.key)
        is_its = row is not None and row[EPOCH] == write.epoch and row[OWNER] == write.owner
        return None if is_its else Outcome.FENCED

    def give_back(self, write: GiveBack, undo: Undo = None) -> Outcome | None:
        """Have a run be nobody's, as before it was claimed."""
        record = write.record
        before = self._runs.get(record.key)
        if before is None or (before[OWNER], before[EPOCH]) != (record.owner, record.epoch):
            return Outcome.FENCED
        if undo is not None:
            undo.append(lambda: self._put(run_of(before)))
        self._put(replace(run_of(before), owner="", epoch=record.epoch - 1))
        return None

    def request_cancel(self, write: RequestCancel, undo: Undo = None) -> Outcome | None:
        """Note that a run is to be cancelled."""
        before = self._runs.get(write.key)
        if before is None or before[STATUS] not in _LIVE or before[ROOT] is not None:
            return Outcome.CONFLICT
        if before[CANCEL] is None:
            if undo is not None:
                undo.append(lambda: self._put(run_of(before)))
            self._put(replace(run_of(before), cancel_us=write.at_us))
        self._hint()
        return None

    def reopen(self, write: ReopenRun, undo: Undo = None) -> Outcome | None:
        """Go on with a run that has failed."""
        record = write.record
        before = self._runs.get(record.key)
        attempts = self._attempts.get((record.app, record.run_id), ())
        is_latest = max(map(self._attempt, attempts), default=0) == record.attempt
        if before is None or before[STATUS] != RunStatus.FAILED or not is_latest:
            return Outcome.CONFLICT
        if undo is not None:
            undo.append(lambda: self._put(run_of(before)))
        self._put(record)
        return None

    def require_ended(self, write: RequireEnded, _undo: Undo = None) -> Outcome | None:
        """Refuse unless a run has ended."""
        row = self._runs.get(write.key)
        return Outcome.CONFLICT if row is None or row[STATUS] in _LIVE else None

    def take_place(self, write: TakePlace, undo: Undo = None) -> Outcome | None:
        """Have a queued run go on, if there is a place for it."""
        before = self._runs.get(write.key)
        if before is None or before[STATUS] != RunStatus.WAITING or before[WAITING_FOR] != QUEUED:
            return Outcome.CONFLICT
        place = write.app, write.workflow
        if len(self._unended[place]) - len(self._queued[place]) >= write.limit:
            return Outcome.CONFLICT
        if undo is not None:
            undo.append(lambda: self._put(run_of(before)))
        self._put(replace(run_of(before), status=RunStatus.RUNNING, waiting_for=""))
        return None

    def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        """Return the unended runs of an owner that are to be cancelled."""
        keys = sorted(key for (of_app, _), some in self._unended.items() if of_app == app for key in some)
        rows = (self._runs[key] for key in keys)
        return [run_of(row) for row in rows if row[CANCEL] is not None and row[OWNER] == owner]

    def latest(self, app: str, run_id: str) -> RunRecord | None:
        """Return the latest attempt of a run."""
        attempts = self._attempts.get((app, run_id))
        return run_of(self._runs[max(attempts, key=self._attempt)]) if attempts else None

    def page(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> FoundRuns:
        """Return a page of runs, newest first."""
        keys = sorted((key for key in self._runs if after is None or key < after), reverse=True)
        records = (run_of(self._runs[key]) for key in keys)
        found = list(islice((each for each in records if each.app == app and matches(each, wanted)), limit + 1))
        return FoundRuns(found[:limit], found[limit - 1].key if len(found) > limit else None)

    def unended(self, app: str, *, after: str | None, limit: int) -> list[RunRecord]:
        """Return unended runs that are at the top, in the order of their keys."""
        names = [name for of_app, name in self._unended if of_app == app]
        keys = (key for key in self._unended_keys(app, names) if after is None or key > after)
        return [run_of(self._runs[key]) for key in islice(keys, limit)]

    def unknown(self, app: str, workflows: Sequence[str]) -> dict[str, int]:
        """Return how many unended runs there are of other workflows."""
        counted = {name: len(keys) for (of_app, name), keys in self._unended.items() if of_app == app and keys}
        return {name: counted[name] for name in sorted(counted) if name not in workflows}

    def children(self, root_key: str) -> list[RunRecord]:
        """Return the descendants of a run."""
        return [run_of(self._runs[key]) for key in sorted(self._children.get(root_key, ()))]

    def oldest_us(self, app: str, workflows: Sequence[str] | None) -> int | None:
        """Return when the oldest unended run of these workflows, or of all, was created."""
        asked = [name for of_app, name in self._unended if of_app == app] if workflows is None else workflows
        keys = self._unended_keys(app, asked)
        return run_of(self._runs[keys[0]]).created_us if keys else None

    def has_unended(self, app: str, workflows: Sequence[str]) -> bool:
        """Tell whether one of these workflows has an unended run."""
        return any(self._unended.get((app, workflow)) for workflow in workflows)

    def roots(self, keys: Iterable[str], app: str, owner: str) -> dict[str, RunRecord]:
        """Return the unended runs of an owner that these are, or that are at the top of them, by key."""
        rows = [row for row in map(self._runs.get, keys) if row is not None]
        roots = (row if row[ROOT] is None else self._runs.get(row[ROOT]) for row in rows)
        records = (run_of(row) for row in roots if row is not None and row[OWNER] == owner and row[STATUS] in _LIVE)
        return {record.key: record for record in records if record.app == app}

    def prune(self, app: str, *, before_us: int, workflow: str | None, without: Sequence[str], limit: int) -> int:
        """Forget runs that ended before, the oldest first."""
        below = first_id(before_us + 1_000)  # an id knows its time by the millisecond
        ended = (run_of(self._runs[key]) for key in sorted(self._ended) if key < below)
        old = (
            each.key
            for each in ended
            if each.app == app
            and each.ended_us is not None
            and each.ended_us < before_us
            and (each.workflow not in without if workflow is None else each.workflow == workflow)
        )
        keys = list(islice(old, limit))
        for key in keys:
            self._forget(key)
        return len(keys)

    def claim(
        self,
        app: str,
        owner: str,
        workflows: Sequence[str],
        *,
        limit: int,
        without: Mapping[str, int],
        is_dead: Callable[[str], bool],
    ) -> list[RunRecord]:
        """Give unended runs of the dead to `owner`."""
        unended = (run_of(self._runs[key]) for key in self._unended_keys(app, workflows))
        free = (each for each in unended if is_dead(each.owner) and (each.owner or each.epoch != without.get(each.key)))
        claimed = list(islice(free, limit))
        for record in claimed:
            record.owner = owner
            record.epoch += 1
            self._put(record)
        return claimed

    def _attempt(self, key: str) -> int:
        number: int = self._runs[key][ATTEMPT]
        return number

    def _put(self, record: RunRecord) -> None:
        key = record.key
        is_new = key not in self._runs
        self._runs[key] = row_of_run(record)
        if record.root_key is not None:
            return
        if record.status in _LIVE:
            self._unended[record.app, record.workflow].add(key)
            if key in self._ended:
                del self._ended[key]
            if record.waiting_for == QUEUED:
                self._queued[record.app, record.workflow].add(key)
            elif self._queued:
                self._queued[record.app, record.workflow].discard(key)
        else:
            if not is_new:
                self._leave(key, record.app, record.workflow)
            self._ended[key] = None
            if len(self._ended) > self._keep_ended:
                self._forget(next(iter(self._ended)))
        if not record.owner:
            self._hint()

    def _leave(self, key: str, app: str, workflow: str) -> None:
        self._unended[app, workflow].discard(key)
        if self._queued:
            self._queued[app, workflow].discard(key)

    def _unended_keys(self, app: str, workflows: Sequence[str]) -> list[str]:
        return sorted(key for workflow in set(workflows) for key in self._unended.get((app, workflow), ()))

    def _forget(self, key: str) -> None:
        if key in self._children:
            for child in self._children.pop(key):
                self._forget(child)
        row = self._runs.pop(key)
        app, run_id = row[APP], row[RUN_ID]
        if row[ROOT] in self._children:
            self._children[row[ROOT]].remove(key)
        if key in self._ended:
            del self._ended[key]
        else:
            self._leave(key, app, row[WORKFLOW])
        self._forgotten(key)
        attempts = self._attempts.pop((app, run_id))
        if len(attempts) > 1:
            self._attempts[app, run_id] = tuple(each for each in attempts if each != key)
