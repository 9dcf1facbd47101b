"""Runs and their checkpoints in this process's memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import islice
from operator import attrgetter
from typing import Any

from daemon.store.listing import matches
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.port import RunFilter
from daemon.store.writes import FenceRun, InsertRun, Outcome, PutStep, ReopenRun, RequestCancel, RequireEnded, UpdateRun

# A record is kept as the tuple of its values: that copies it three times as fast as its constructor would. A status is
# kept as its plain text: the garbage collector forgets a tuple that has nothing but texts and numbers, and does not
# walk over thousands of ended runs again and again.
_RUN = tuple(each.name for each in fields(RunRecord))
_OWNER = _RUN.index("owner")
_STATUS = _RUN.index("status")
_CANCEL = _RUN.index("cancel_us")
_run_values = attrgetter(*(f"{name}._value_" if name == "status" else name for name in _RUN))
_STEP = tuple(each.name for each in fields(StepRecord))
_step_values = attrgetter(*(f"{name}._value_" if name == "state" else name for name in _STEP))
_LIVE = frozenset(status for status in RunStatus if not status.ended)

Undo = list[Callable[[], object]] | None


class MemoryRuns:
    """Runs by their key, and their checkpoints. What it hands out are copies.

    A write that is a guard returns why it refuses, or leaves in `undo`, if there is one, how to take it back.

    Args:
        keep_ended: How many runs that have ended are kept.
        hint: Called when a run belongs to nobody, or is to be cancelled.
    """

    def __init__(self, keep_ended: int, hint: Callable[[], object]) -> None:
        self._keep_ended = keep_ended
        self._hint = hint
        self._runs: dict[str, tuple[Any, ...]] = {}
        self._attempts: dict[tuple[str, str], dict[int, str]] = {}
        self._live: set[str] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()  # the one that ended first comes first
        self._steps: dict[str, dict[str, tuple[Any, ...]]] = {}

    def insert(self, write: InsertRun, undo: Undo = None) -> Outcome | None:
        """Start a run."""
        record = write.record
        attempts = self._attempts.get((record.app, record.run_id))
        if record.key in self._runs or (attempts and record.attempt in attempts):
            return Outcome.CONFLICT
        if attempts is None:
            attempts = self._attempts[record.app, record.run_id] = {}
        attempts[record.attempt] = record.key
        if undo is not None:
            undo.append(lambda: self._forget(record.key))
        self._put(record)
        return None

    def update(self, write: UpdateRun, undo: Undo = None) -> Outcome | None:
        """Replace what may change in a run."""
        record = write.record
        before = self._runs.get(record.key)
        if before is None or before[_OWNER] != record.owner:
            return Outcome.FENCED
        if undo is not None:
            undo.append(lambda: self._put(_run_of(before)))
        self._put(record if before[_CANCEL] is None else replace(record, cancel_us=before[_CANCEL]))
        return None

    def fence(self, write: FenceRun, _undo: Undo = None) -> Outcome | None:
        """Refuse if a run is owned by another."""
        row = self._runs.get(write.key)
        return Outcome.FENCED if row is None or row[_OWNER] != write.owner else None

    def request_cancel(self, write: RequestCancel, undo: Undo = None) -> Outcome | None:
        """Note that a run is to be cancelled."""
        before = self._runs.get(write.key)
        if before is None or write.key not in self._live:
            return Outcome.CONFLICT
        if before[_CANCEL] is None:
            if undo is not None:
                undo.append(lambda: self._put(_run_of(before)))
            self._put(replace(_run_of(before), cancel_us=write.at_us))
        self._hint()
        return None

    def reopen(self, write: ReopenRun, undo: Undo = None) -> Outcome | None:
        """Go on with a run that has failed."""
        record = write.record
        before = self._runs.get(record.key)
        is_latest = max(self._attempts.get((record.app, record.run_id), (0,))) == record.attempt
        if before is None or before[_STATUS] != RunStatus.FAILED or not is_latest:
            return Outcome.CONFLICT
        if undo is not None:
            undo.append(lambda: self._put(_run_of(before)))
        self._put(record)
        return None

    def require_ended(self, write: RequireEnded, _undo: Undo = None) -> Outcome | None:
        """Refuse unless a run has ended."""
        return None if write.key in self._ended else Outcome.CONFLICT

    def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        """Return the unended runs of an owner that are to be cancelled."""
        rows = (self._runs[key] for key in sorted(self._live))
        asked = (_run_of(row) for row in rows if row[_CANCEL] is not None and row[_OWNER] == owner)
        return [record for record in asked if record.app == app]

    def put_step(self, write: PutStep) -> None:
        """Keep a checkpoint."""
        record = write.record
        self._steps.setdefault(record.run_key, {})[record.name] = _step_values(record)

    def latest(self, app: str, run_id: str) -> RunRecord | None:
        """Return the latest attempt of a run."""
        attempts = self._attempts.get((app, run_id))
        return _run_of(self._runs[attempts[max(attempts)]]) if attempts else None

    def page(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> list[RunRecord]:
        """Return runs, newest first."""
        keys = sorted((key for key in self._runs if after is None or key < after), reverse=True)
        records = (_run_of(self._runs[key]) for key in keys)
        return list(islice((each for each in records if each.app == app and matches(each, wanted)), limit))

    def steps(self, key: str) -> list[StepRecord]:
        """Return the checkpoints of a run."""
        return sorted(map(_step_of, self._steps.get(key, {}).values()), key=attrgetter("seq"))

    def claim(
        self, app: str, owner: str, workflows: Sequence[str], *, limit: int, is_dead: Callable[[str], bool]
    ) -> list[RunRecord]:
        """Give unended runs of the dead to `owner`."""
        live = (_run_of(self._runs[key]) for key in sorted(self._live))
        free = (each for each in live if each.app == app and each.workflow in workflows and is_dead(each.owner))
        claimed = list(islice(free, limit))
        for record in claimed:
            record.owner = owner
            self._put(record)
        return claimed

    def _put(self, record: RunRecord) -> None:
        key = record.key
        self._runs[key] = _run_values(record)
        if record.status in _LIVE:
            self._live.add(key)
            self._ended.pop(key, None)
        else:
            self._live.discard(key)
            self._ended[key] = None
            if len(self._ended) > self._keep_ended:
                self._forget(next(iter(self._ended)))
        if not record.owner:
            self._hint()

    def _forget(self, key: str) -> None:
        record = _run_of(self._runs.pop(key))
        self._live.discard(key)
        self._ended.pop(key, None)
        self._steps.pop(key, None)
        attempts = self._attempts[record.app, record.run_id]
        del attempts[record.attempt]
        if not attempts:
            del self._attempts[record.app, record.run_id]


def _run_of(row: tuple[Any, ...]) -> RunRecord:
    record = RunRecord(*row)
    record.status = RunStatus(record.status)
    return record


def _step_of(row: tuple[Any, ...]) -> StepRecord:
    record = StepRecord(*row)
    record.state = StepState(record.state)
    return record
