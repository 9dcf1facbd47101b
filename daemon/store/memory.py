"""The store that forgets: everything in this process, applied at once. For tests, scripts and the in-memory engine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from math import inf

from daemon.clock import Clock, SystemClock
from daemon.store.listing import in_order
from daemon.store.memory_job_store import MemoryJobStore
from daemon.store.memory_outbox import MemoryOutbox
from daemon.store.memory_queues import MemoryQueues
from daemon.store.memory_receipts import MemoryReceipts
from daemon.store.memory_runs import MemoryRuns, Undo
from daemon.store.memory_signals import MemorySignals
from daemon.store.memory_steps import MemorySteps
from daemon.store.model import OutgoingEvent, QueuedDelivery, Receipt, RunRecord, Signal, StepRecord
from daemon.store.port import NOTHING, FoundRuns, RunFilter
from daemon.store.writes import (
    DropOutgoing,
    Enqueue,
    FenceRun,
    ForgetReceipt,
    GiveBack,
    InsertRun,
    Known,
    Outcome,
    PutGraph,
    PutReceipt,
    PutSignal,
    PutStep,
    RecordHandled,
    ReleaseFiring,
    ReopenRun,
    RequestCancel,
    RequireAwaiting,
    RequireEnded,
    RequireNoSignal,
    SettleDelivery,
    StageEvent,
    TakePlace,
    UpdateChild,
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
        GiveBack,
        RequestCancel,
        ReopenRun,
        RequireEnded,
        TakePlace,
        RequireAwaiting,
        RequireNoSignal,
        RecordHandled,
        SettleDelivery,
        UpdateDelivery,
        UpdateFiring,
        ReleaseFiring,
    }
)


_KNOWN = {outcome: Known(outcome) for outcome in Outcome}
_APPLIED = _KNOWN[Outcome.APPLIED]


class MemoryStore(MemoryJobStore):
    """Keeps everything in this process, until it ends.

    A commit is applied when it is submitted. Leases are counted on the clock that is given.

    Args:
        clock: Counts the leases; by default the machine's.
        keep_ended: How many runs that have ended are kept, so that a script which runs for weeks does not fill the
            memory; the oldest are forgotten first, and asking for one again runs it afresh.
    """

    def __init__(self, clock: Clock | None = None, *, keep_ended: int = 10_000) -> None:
        super().__init__(clock or SystemClock())
        self._steps = MemorySteps()
        self._runs = MemoryRuns(keep_ended, forgotten=self._steps.forget, hint=self._hint)
        self._graphs: dict[str, PutGraph] = {}
        self._outbox = MemoryOutbox()
        self._receipts = MemoryReceipts()
        self._signals = MemorySignals()
        self._queues = MemoryQueues(self._hint)
        self._patterns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._apply: dict[type, Callable[..., Outcome | None]] = {
            InsertRun: self._runs.insert,
            UpdateRun: self._runs.update,
            UpdateChild: self._runs.update_child,
            FenceRun: self._runs.fence,
            GiveBack: self._runs.give_back,
            RequestCancel: self._runs.request_cancel,
            ReopenRun: self._runs.reopen,
            RequireEnded: self._runs.require_ended,
            TakePlace: self._runs.take_place,
            RequireAwaiting: self._steps.require_awaiting,
            RequireNoSignal: self._require_no_signal,
            PutSignal: self._put_signal,
            RecordHandled: self._receipts.record_handled,
            SettleDelivery: self._queues.settle,
            UpdateDelivery: self._queues.update,
            UpdateFiring: self._firings.update,
            ReleaseFiring: self._firings.release,
            PutReceipt: self._receipts.put,
            ForgetReceipt: self._receipts.forget,
            PutStep: self._steps.put,
            PutGraph: self._put_graph,
            StageEvent: self._outbox.stage,
            DropOutgoing: self._outbox.drop,
            Enqueue: self._queues.enqueue,
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
    def _require_no_signal(self, write: RequireNoSignal, _undo: Undo = None) -> Outcome | None:
        came = self._signals.first(write.app, write.topic, write.since_us)
        return None if came is None else Outcome.CONFLICT

    # --- writes that always succeed ---
    def _put_graph(self, write: PutGraph) -> None:
        self._graphs.setdefault(write.hash, write)

    def _put_signal(self, write: PutSignal) -> None:
        if not write.workflows or self._runs.has_unended(write.signal.app, write.workflows):
            self._signals.put(replace(write.signal))
            self._hint()

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        return self._runs.latest(app, run_id)

    async def runs(
        self,
        app: str,
        wanted: RunFilter,
        *,
        after: str | None,
        limit: int,
        within_s: float = inf,  # noqa: ARG002
    ) -> FoundRuns:
        return self._runs.page(app, wanted, after=after, limit=limit)

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        return {key: self._steps.of(key) for key in keys}

    async def children(self, root_keys: Sequence[str]) -> dict[str, list[RunRecord]]:
        return {key: self._runs.children(key) for key in root_keys}

    async def graph(self, graph_hash: str) -> bytes | None:
        found = self._graphs.get(graph_hash)
        return None if found is None else found.graph

    async def unended(self, app: str, *, after: str | None, limit: int) -> list[RunRecord]:
        return self._runs.unended(app, after=after, limit=limit)

    async def unknown(self, app: str, workflows: Sequence[str]) -> dict[str, int]:
        return self._runs.unknown(app, workflows)

    async def claim_runs(
        self, app: str, owner: str, workflows: Sequence[str], *, limit: int, without: Mapping[str, int] = NOTHING
    ) -> list[RunRecord]:
        def is_dead(of: str) -> bool:
            return self._is_dead(of, to=owner)

        return self._runs.claim(app, owner, workflows, limit=limit, without=without, is_dead=is_dead)

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        return self._runs.cancellations(app, owner)

    async def oldest_run_us(self, app: str, workflows: Sequence[str] | None) -> int | None:
        return self._runs.oldest_us(app, workflows)

    # --- signals ---
    async def signal(self, app: str, topic: str, since_us: int) -> Signal | None:
        found = self._signals.first(app, topic, since_us)
        return found and replace(found)

    async def signalled(self, app: str, owner: str, *, after: int = 0) -> tuple[list[RunRecord], int]:
        found = {
            key: root
            for topic in self._signals.topics(app, after=after)
            for key, root in self._runs.roots(self._steps.awaiting(topic), app, owner).items()
            if self._signals.first(app, topic, root.created_us, after=after) is not None
        }
        return [found[key] for key in sorted(found)], max(self._signals.last, after)

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:  # noqa: ARG002 - every app has its lease
        self._leases[owner] = self._clock.monotonic_s() + lease_s

    async def retire(self, owner: str) -> None:
        self._leases.pop(owner, None)
        self._hint()

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

    async def park(self, delivery: QueuedDelivery) -> int:
        self._queues.enqueue(Enqueue((delivery,)))
        return self._queues.last_seq

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        return self._queues.next_due_us(app, subscribers, ordered=ordered)

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        return self._queues.depths(app)

    async def dead(
        self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int, after: int = 0
    ) -> list[QueuedDelivery]:
        return self._queues.dead(app, subscriber, ids=ids, limit=limit, after=after)

    async def handled(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> bytes | None:
        return self._receipts.body_hash((app, subscriber, source, event_name, event_id))

    # --- deliveries of a broker ---
    async def receipt(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> Receipt | None:
        return self._receipts.receipt((app, subscriber, source, event_name, event_id))

    async def claim_receipt(self, app: str, subscriber: str, mark: str, owner: str) -> Receipt | None:
        return self._receipts.claim(app, subscriber, mark, owner, is_dead=lambda of: self._is_dead(of, to=owner))

    # --- outbox ---
    async def claim_outgoing(self, app: str, owner: str, *, limit: int) -> int:
        return self._outbox.claim(app, owner, limit=limit, is_dead=lambda of: self._is_dead(of, to=owner))

    async def outgoing(self, app: str, *, limit: int, after: int = 0, owner: str | None = None) -> list[OutgoingEvent]:
        return in_order(self._outbox.page(app, limit=limit, after=after, owner=owner))

    # --- retention ---
    async def prune_runs(
        self, app: str, *, before_us: int, workflow: str | None, without: Sequence[str] = (), limit: int
    ) -> int:
        return self._runs.prune(app, before_us=before_us, workflow=workflow, without=without, limit=limit)

    async def prune_handled(self, app: str, *, before_us: int, limit: int) -> int:
        return self._receipts.prune(app, before_us=before_us, limit=limit)

    async def prune_firings(self, app: str, *, before_us: int, limit: int) -> int:
        firings = self._firings.prune(app, before_us=before_us, limit=limit)
        return firings + self._jobs.prune(app, before_us=before_us, limit=limit - firings)

    async def prune_signals(self, app: str, *, topic_prefix: str, before_us: int, limit: int) -> int:
        return self._signals.prune(app, topic_prefix=topic_prefix, before_us=before_us, limit=limit)
