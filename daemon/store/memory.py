"""The store that forgets: everything in this process, applied at once. For tests, scripts and the in-memory engine."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import fields, replace
from itertools import islice
from operator import attrgetter
from typing import Any

from daemon.clock import Clock, SystemClock
from daemon.store.listing import in_order, matches
from daemon.store.model import (
    ClaimFiring,
    DropOutgoing,
    Enqueue,
    FenceRun,
    FiringRecord,
    FiringState,
    InsertRun,
    Outcome,
    OutgoingEvent,
    PutGraph,
    PutStep,
    QueuedDelivery,
    RecordHandled,
    RunFilter,
    RunRecord,
    SettleDelivery,
    StageEvent,
    StepRecord,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)
from daemon.store.queues import MemoryQueues

# A record's values as a tuple: an attrgetter copies three times as fast as a constructor. Read back, they are a record.
_RUN = tuple(each.name for each in fields(RunRecord))
_run_values = attrgetter(*_RUN)
_step_values = attrgetter(*(each.name for each in fields(StepRecord)))
_OWNER = _RUN.index("owner")
_STATUS = _RUN.index("status")

_GUARDS = frozenset(
    {InsertRun, UpdateRun, FenceRun, RecordHandled, SettleDelivery, UpdateDelivery, ClaimFiring, UpdateFiring}
)
_Undo = list[Callable[[], object]] | None


class _Known:
    """An outcome that is known already; awaiting it costs no future and no turn of the loop."""

    __slots__ = ("_outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __await__(self) -> Generator[None, None, Outcome]:
        return self._outcome
        yield  # type: ignore[unreachable] # what makes this a generator


_KNOWN = {outcome: _Known(outcome) for outcome in Outcome}
_APPLIED = _KNOWN[Outcome.APPLIED]


class MemoryStore:
    """Keeps everything in this process, until it ends.

    A commit is applied when it is submitted. Leases are counted on the clock that is given.

    Args:
        clock: Counts the leases; by default the machine's.
        keep_ended: How many runs that have ended are kept, so that a script which runs for weeks does not fill the
            memory; the oldest are forgotten first, and asking for one again runs it afresh.
    """

    def __init__(self, clock: Clock | None = None, *, keep_ended: int = 10_000) -> None:
        self._clock = clock or SystemClock()
        self._keep_ended = keep_ended
        self._runs: dict[str, tuple[Any, ...]] = {}
        self._attempts: dict[tuple[str, str], dict[int, str]] = {}
        self._ended: deque[str] = deque()
        self._steps: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._graphs: dict[str, PutGraph] = {}
        self._outbox: dict[str, OutgoingEvent] = {}
        self._handled: set[tuple[str, str, str, str, str]] = set()
        self._firings: defaultdict[tuple[str, str], dict[int, FiringRecord]] = defaultdict(dict)
        self._queues = MemoryQueues()
        self._patterns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._leases: dict[str, float] = {}
        self._hints: list[Callable[[], object]] = []
        self._apply: dict[type, Callable[..., Outcome | None]] = {
            InsertRun: self._insert_run,
            UpdateRun: self._update_run,
            FenceRun: self._fence_run,
            RecordHandled: self._record_handled,
            SettleDelivery: self._settle,
            UpdateDelivery: self._update_delivery,
            ClaimFiring: self._claim_firing,
            UpdateFiring: self._update_firing,
            PutStep: self._put_step,
            PutGraph: self._put_graph,
            StageEvent: self._stage_event,
            DropOutgoing: self._drop_outgoing,
            Enqueue: self._enqueue,
        }

    async def open(self) -> None:
        """There is nothing to open."""

    async def aclose(self) -> None:
        """There is nothing to close."""

    @property
    def trouble(self) -> str:
        return ""

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        if not _GUARDS.isdisjoint(map(type, writes[1:])):
            return self._commit_guards(writes)
        for write in writes:
            refused = self._apply[type(write)](write)
            if refused is not None:
                return _KNOWN[refused]
        return _APPLIED

    def _commit_guards(self, writes: Sequence[Write]) -> Awaitable[Outcome]:
        """Apply the guards before everything else, and take them back if one of them refuses."""
        undo: list[Callable[[], object]] = []
        for guard in [write for write in writes if type(write) in _GUARDS]:
            refused = self._apply[type(guard)](guard, undo)
            if refused is not None:
                for restore in reversed(undo):
                    restore()
                return _KNOWN[refused]
        for write in writes:
            if type(write) not in _GUARDS:
                self._apply[type(write)](write)
        return _APPLIED

    # --- guards: each returns why it refuses, or leaves in `undo`, if there is one, how to take it back ---
    def _insert_run(self, write: InsertRun, undo: _Undo = None) -> Outcome | None:
        record = write.record
        attempts = self._attempts.setdefault((record.app, record.run_id), {})
        if record.attempt in attempts or record.key in self._runs:
            return Outcome.CONFLICT
        attempts[record.attempt] = record.key
        self._runs[record.key] = _run_values(record)
        if undo is not None:
            undo.append(lambda: self._forget(record.key))
        if not record.owner:
            self._hint()
        return None

    def _update_run(self, write: UpdateRun, undo: _Undo = None) -> Outcome | None:
        record = write.record
        before = self._runs.get(record.key)
        if before is None or before[_OWNER] != record.owner:
            return Outcome.FENCED
        self._runs[record.key] = _run_values(record)
        if undo is not None:
            undo.append(lambda: self._runs.update({record.key: before}))
        if record.status.ended:
            self._note_end(record.key)
        if not record.owner:
            self._hint()
        return None

    def _fence_run(self, write: FenceRun, _undo: _Undo = None) -> Outcome | None:
        row = self._runs.get(write.key)
        return Outcome.FENCED if row is None or row[_OWNER] != write.owner else None

    def _record_handled(self, write: RecordHandled, undo: _Undo = None) -> Outcome | None:
        mark = (write.app, write.subscriber, write.source, write.event_name, write.event_id)
        if mark in self._handled:
            return Outcome.CONFLICT
        self._handled.add(mark)
        if undo is not None:
            undo.append(lambda: self._handled.discard(mark))
        return None

    def _settle(self, write: SettleDelivery, undo: _Undo = None) -> Outcome | None:
        before = self._queues.get(write.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._queues.drop(write.seq)
        if undo is not None:
            undo.append(lambda: self._queues.put(before))
        return None

    def _update_delivery(self, write: UpdateDelivery, undo: _Undo = None) -> Outcome | None:
        record = write.record
        before = self._queues.get(record.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._queues.put(replace(record))
        if undo is not None:
            undo.append(lambda: self._queues.put(before))
        self._hint()
        return None

    def _claim_firing(self, write: ClaimFiring, undo: _Undo = None) -> Outcome | None:
        record = write.record
        firings = self._firings[record.app, record.job]
        if record.scheduled_us in firings:
            return Outcome.CONFLICT
        firings[record.scheduled_us] = replace(record)
        if undo is not None:
            undo.append(lambda: firings.pop(record.scheduled_us))
        return None

    def _update_firing(self, write: UpdateFiring, undo: _Undo = None) -> Outcome | None:
        record = write.record
        firings = self._firings[record.app, record.job]
        before = firings.get(record.scheduled_us)
        if before is None or before.owner != record.owner:
            return Outcome.FENCED
        firings[record.scheduled_us] = replace(record)
        if undo is not None:
            undo.append(lambda: firings.update({record.scheduled_us: before}))
        return None

    # --- writes that always succeed ---
    def _put_step(self, write: PutStep) -> None:
        record = write.record
        self._steps.setdefault(record.run_key, {})[record.name] = _step_values(record)

    def _put_graph(self, write: PutGraph) -> None:
        self._graphs.setdefault(write.hash, write)

    def _stage_event(self, write: StageEvent) -> None:
        self._outbox.setdefault(write.event.id, replace(write.event))

    def _drop_outgoing(self, write: DropOutgoing) -> None:
        for id_ in write.ids:
            self._outbox.pop(id_, None)

    def _enqueue(self, write: Enqueue) -> None:
        for delivery in write.deliveries:
            self._queues.enqueue(delivery)
        self._hint()

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        attempts = self._attempts.get((app, run_id))
        return RunRecord(*self._runs[attempts[max(attempts)]]) if attempts else None

    async def runs(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> list[RunRecord]:
        keys = sorted((key for key in self._runs if after is None or key < after), reverse=True)
        records = (RunRecord(*self._runs[key]) for key in keys)
        return list(islice((each for each in records if each.app == app and matches(each, wanted)), limit))

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        return {
            key: sorted((StepRecord(*row) for row in self._steps.get(key, {}).values()), key=attrgetter("seq"))
            for key in keys
        }

    async def claim_runs(self, app: str, owner: str, workflows: Sequence[str], *, limit: int) -> list[RunRecord]:
        claimed: list[RunRecord] = []
        for key in sorted(self._runs):
            record = RunRecord(*self._runs[key])
            wanted = record.app == app and record.workflow in workflows and not record.status.ended
            if len(claimed) < limit and wanted and self._is_dead(record.owner, to=owner):
                record.owner = owner
                self._runs[key] = _run_values(record)
                claimed.append(record)
        return claimed

    def _note_end(self, key: str) -> None:
        self._ended.append(key)
        if len(self._ended) > self._keep_ended:
            oldest = self._ended.popleft()
            if oldest in self._runs and self._runs[oldest][_STATUS].ended:
                self._forget(oldest)

    def _forget(self, key: str) -> None:
        record = RunRecord(*self._runs.pop(key))
        self._steps.pop(key, None)
        attempts = self._attempts[record.app, record.run_id]
        del attempts[record.attempt]
        if not attempts:
            del self._attempts[record.app, record.run_id]

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:  # noqa: ARG002 - every app has its lease
        self._leases[owner] = self._clock.monotonic_s() + lease_s

    async def retire(self, owner: str) -> None:
        self._leases.pop(owner, None)
        self._hint()

    def _is_dead(self, owner: str, *, to: str) -> bool:
        return owner != to and self._leases.get(owner, -1.0) <= self._clock.monotonic_s()

    # --- embedded queues ---
    async def bindings(self, app: str) -> list[tuple[str, str]]:
        return [(sub, pattern) for (of_app, sub), all_ in self._patterns.items() if of_app == app for pattern in all_]

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        self._patterns[app, subscriber] = tuple(dict.fromkeys(patterns))

    async def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool = False
    ) -> list[QueuedDelivery]:
        self._queues.free(app, subscriber, lambda of: self._is_dead(of, to=owner))
        return self._queues.take(app, subscriber, owner, limit=limit, now_us=now_us, ordered=ordered)

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        return self._queues.next_due_us(app, subscribers, ordered=ordered)

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        return self._queues.depths(app)

    async def dead(self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int) -> list[QueuedDelivery]:
        return self._queues.dead(app, subscriber, ids=ids, limit=limit)

    async def handled(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> bool:
        return (app, subscriber, source, event_name, event_id) in self._handled

    # --- jobs ---
    async def firings(self, app: str, job: str, *, limit: int, before_us: int | None = None) -> list[FiringRecord]:
        firings = self._firings[app, job]
        times = sorted((each for each in firings if before_us is None or each < before_us), reverse=True)
        return [replace(firings[scheduled_us]) for scheduled_us in times[:limit]]

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        running = [
            each
            for job in jobs
            for each in self._firings[app, job].values()
            if each.state is FiringState.RUNNING and self._is_dead(each.owner, to=owner)
        ]
        running.sort(key=attrgetter("scheduled_us"))
        claimed = [replace(each, owner=owner, attempt=each.attempt + 1) for each in running[:limit]]
        for each in claimed:
            self._firings[app, each.job][each.scheduled_us] = replace(each)
        return claimed

    # --- outbox ---
    async def outgoing(self, app: str, *, limit: int) -> list[OutgoingEvent]:
        staged = (replace(each) for each in self._outbox.values() if each.app == app)
        return in_order(list(islice(staged, limit)))

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        self._hints.append(callback)
        return lambda: self._hints.remove(callback)

    def _hint(self) -> None:
        if self._hints:
            loop = asyncio.get_running_loop()
            for callback in self._hints:
                loop.call_soon(callback)
