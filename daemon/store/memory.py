"""The store that forgets: everything in this process, applied at once. For tests, scripts and the in-memory engine."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from daemon.clock import Clock, SystemClock
from daemon.store.listing import in_order
from daemon.store.memory_queues import MemoryQueues
from daemon.store.memory_runs import MemoryRuns, Undo
from daemon.store.model import FiringRecord, FiringState, OutgoingEvent, QueuedDelivery, RunRecord, StepRecord
from daemon.store.port import RunFilter
from daemon.store.writes import (
    ClaimFiring,
    DropOutgoing,
    Enqueue,
    FenceRun,
    InsertRun,
    Outcome,
    PutGraph,
    PutStep,
    RecordHandled,
    ReopenRun,
    RequestCancel,
    RequireEnded,
    SettleDelivery,
    StageEvent,
    UpdateDelivery,
    UpdateFiring,
    UpdateRun,
    Write,
)

_GUARDS = frozenset(
    {
        InsertRun,
        UpdateRun,
        FenceRun,
        RequestCancel,
        ReopenRun,
        RequireEnded,
        RecordHandled,
        SettleDelivery,
        UpdateDelivery,
        ClaimFiring,
        UpdateFiring,
    }
)


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
        self._runs = MemoryRuns(keep_ended, self._hint)
        self._graphs: dict[str, PutGraph] = {}
        self._outbox: dict[str, OutgoingEvent] = {}
        self._handled: set[tuple[str, str, str, str, str]] = set()
        self._firings: defaultdict[tuple[str, str], dict[int, FiringRecord]] = defaultdict(dict)
        self._queues = MemoryQueues()
        self._patterns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._leases: dict[str, float] = {}
        self._hints: list[Callable[[], object]] = []
        self._apply: dict[type, Callable[..., Outcome | None]] = {
            InsertRun: self._runs.insert,
            UpdateRun: self._runs.update,
            FenceRun: self._runs.fence,
            RequestCancel: self._runs.request_cancel,
            ReopenRun: self._runs.reopen,
            RequireEnded: self._runs.require_ended,
            RecordHandled: self._record_handled,
            SettleDelivery: self._settle,
            UpdateDelivery: self._update_delivery,
            ClaimFiring: self._claim_firing,
            UpdateFiring: self._update_firing,
            PutStep: self._runs.put_step,
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
    def _record_handled(self, write: RecordHandled, undo: Undo = None) -> Outcome | None:
        mark = (write.app, write.subscriber, write.source, write.event_name, write.event_id)
        if mark in self._handled:
            return Outcome.CONFLICT
        self._handled.add(mark)
        if undo is not None:
            undo.append(lambda: self._handled.discard(mark))
        return None

    def _settle(self, write: SettleDelivery, undo: Undo = None) -> Outcome | None:
        before = self._queues.get(write.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._queues.drop(write.seq)
        if undo is not None:
            undo.append(lambda: self._queues.put(before))
        return None

    def _update_delivery(self, write: UpdateDelivery, undo: Undo = None) -> Outcome | None:
        record = write.record
        before = self._queues.get(record.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._queues.put(replace(record))
        if undo is not None:
            undo.append(lambda: self._queues.put(before))
        self._hint()
        return None

    def _claim_firing(self, write: ClaimFiring, undo: Undo = None) -> Outcome | None:
        record = write.record
        firings = self._firings[record.app, record.job]
        if record.scheduled_us in firings:
            return Outcome.CONFLICT
        firings[record.scheduled_us] = replace(record)
        if undo is not None:
            undo.append(lambda: firings.pop(record.scheduled_us))
        return None

    def _update_firing(self, write: UpdateFiring, undo: Undo = None) -> Outcome | None:
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
        return self._runs.latest(app, run_id)

    async def runs(self, app: str, wanted: RunFilter, *, after: str | None, limit: int) -> list[RunRecord]:
        return self._runs.page(app, wanted, after=after, limit=limit)

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        return {key: self._runs.steps(key) for key in keys}

    async def claim_runs(self, app: str, owner: str, workflows: Sequence[str], *, limit: int) -> list[RunRecord]:
        return self._runs.claim(app, owner, workflows, limit=limit, is_dead=lambda of: self._is_dead(of, to=owner))

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        return self._runs.cancellations(app, owner)

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
