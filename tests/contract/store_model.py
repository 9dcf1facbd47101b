"""A store as its protocol describes it: dictionaries and lists, and what each write does to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from daemon.store.job_model import FiringRecord
from daemon.store.model import QUEUED, OutgoingEvent, RunRecord, RunStatus, Signal, StepRecord, StepState
from daemon.store.port import RunFilter
from daemon.store.writes import (
    DropOutgoing,
    Enqueue,
    FenceRun,
    ForgetReceipt,
    GiveBack,
    InsertRun,
    Outcome,
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
from tests.contract.firing_model import Firings
from tests.contract.queue_model import Queues

Refusal = Outcome | None
FENCED, CONFLICT = Outcome.FENCED, Outcome.CONFLICT


@dataclass
class Rows:
    """Everything that is stored of one application."""

    runs: dict[str, RunRecord] = field(default_factory=dict)
    steps: dict[tuple[str, str], StepRecord] = field(default_factory=dict)
    signals: list[Signal] = field(default_factory=list)
    outbox: dict[str, OutgoingEvent] = field(default_factory=dict)
    handled: dict[str, RecordHandled] = field(default_factory=dict)
    firings: Firings = field(default_factory=Firings)
    queues: Queues = field(default_factory=Queues)


class StoreModel:
    """One application, whose processes are those of `alive`, and whose only job has any number of firings."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.alive: set[str] = set()
        self._guards: dict[type[Write], Callable[[Any], Refusal]] = {
            InsertRun: self._insert,
            UpdateRun: self._update,
            FenceRun: lambda write: self._fence(write.key, write.owner, write.epoch),
            GiveBack: self._give_back,
            RequestCancel: self._request_cancel,
            ReopenRun: self._reopen,
            RequireEnded: lambda write: None if self._is(write.key, lambda run: run.status.ended) else CONFLICT,
            TakePlace: self._take_place,
            RequireAwaiting: self._require_awaiting,
            RequireNoSignal: lambda write: CONFLICT if self.signal(write.topic, write.since_us) else None,
            RecordHandled: self._record_handled,
            UpdateFiring: self._change_firing,
            ReleaseFiring: self._change_firing,
            SettleDelivery: self._change_queue,
            UpdateDelivery: self._change_queue,
        }

    # --- writes ---
    def commit(self, writes: Sequence[Write]) -> Collection[Outcome]:
        """Apply writes, or none of them; return what may be said of it, since more than one guard may refuse."""
        before = deepcopy(self.rows)
        writes = deepcopy(writes)
        refused = [self._guards[type(write)](write) for write in writes if type(write) in self._guards]
        refusals = {each for each in refused if each is not None}
        if refusals:
            self.rows = before
            return refusals
        for write in writes:
            self._effect(write)
        return {Outcome.APPLIED}

    def _effect(self, write: Write) -> None:
        rows = self.rows
        match write:
            case PutStep(record=step):
                rows.steps[step.run_key, step.name] = step
            case UpdateChild(record=child):
                rows.runs[child.key] = child
            case PutSignal(signal=signal, workflows=workflows):
                is_known = any((each.topic, each.id) == (signal.topic, signal.id) for each in rows.signals)
                is_wanted = not workflows or any(run.workflow in workflows for run in self.unended())
                if is_wanted and not is_known:
                    rows.signals.append(signal)
            case StageEvent(event=event):
                rows.outbox.setdefault(event.id, event)
            case DropOutgoing(ids=ids):
                for id_ in ids:
                    rows.outbox.pop(id_, None)
            case Enqueue() | PutReceipt() | ForgetReceipt():
                rows.queues.apply(write)

    def _is(self, key: str, probe: Callable[[RunRecord], bool]) -> bool:
        return key in self.rows.runs and probe(self.rows.runs[key])

    def _fence(self, key: str, owner: str, epoch: int) -> Refusal:
        return None if self._is(key, lambda run: (run.owner, run.epoch) == (owner, epoch)) else FENCED

    def _insert(self, write: InsertRun) -> Refusal:
        of = write.record.run_id, write.record.attempt
        if any((run.run_id, run.attempt) == of for run in self.rows.runs.values()):
            return CONFLICT
        self.rows.runs[write.record.key] = write.record
        return None

    def _update(self, write: UpdateRun) -> Refusal:
        record = write.record
        refused = self._fence(record.key, record.owner, record.epoch)
        if refused is None:
            self.rows.runs[record.key] = replace(record, cancel_us=self.rows.runs[record.key].cancel_us)
        return refused

    def _give_back(self, write: GiveBack) -> Refusal:
        record = write.record
        refused = self._fence(record.key, record.owner, record.epoch)
        if refused is None:
            self.rows.runs[record.key].owner = ""
            self.rows.runs[record.key].epoch -= 1
        return refused

    def _request_cancel(self, write: RequestCancel) -> Refusal:
        if not self._is(write.key, lambda run: run in self.unended()):
            return CONFLICT
        run = self.rows.runs[write.key]
        run.cancel_us = write.at_us if run.cancel_us is None else run.cancel_us
        return None

    def _reopen(self, write: ReopenRun) -> Refusal:
        record = write.record
        is_latest = self.latest(record.run_id) == self.rows.runs.get(record.key)
        if not is_latest or not self._is(record.key, lambda run: run.status is RunStatus.FAILED):
            return CONFLICT
        names = ("status", "owner", "epoch", "updated_us", "errors", "ended_us")
        changes: dict[str, Any] = {name: getattr(record, name) for name in names}
        self.rows.runs[record.key] = replace(self.rows.runs[record.key], **changes)
        return None

    def _take_place(self, write: TakePlace) -> Refusal:
        going = [run for run in self.unended() if run.workflow == write.workflow and run.waiting_for != QUEUED]
        is_queued = self._is(write.key, lambda run: run.status is RunStatus.WAITING and run.waiting_for == QUEUED)
        if not is_queued or len(going) >= write.limit:
            return CONFLICT
        self.rows.runs[write.key].status, self.rows.runs[write.key].waiting_for = RunStatus.RUNNING, ""
        return None

    def _require_awaiting(self, write: RequireAwaiting) -> Refusal:
        step = self.rows.steps.get((write.run_key, write.step))
        return None if step and (step.state, step.awaits) == (StepState.WAITING, write.topic) else CONFLICT

    def _record_handled(self, write: RecordHandled) -> Refusal:
        return None if self.rows.handled.setdefault(write.event_id, write) is write else CONFLICT

    def _change_queue(self, write: SettleDelivery | UpdateDelivery) -> Refusal:
        return self.rows.queues.change(write)

    def _change_firing(self, write: UpdateFiring | ReleaseFiring) -> Refusal:
        return self.rows.firings.change(write)

    # --- what is taken over ---
    def is_dead(self, owner: str, *, to: str) -> bool:
        return owner != to and owner not in self.alive

    def claim_runs(
        self, owner: str, workflows: Sequence[str], limit: int, without: Mapping[str, int]
    ) -> list[RunRecord]:
        free = [
            run
            for run in self.unended()
            if run.workflow in workflows
            and self.is_dead(run.owner, to=owner)
            and not (run.owner == "" and without.get(run.key) == run.epoch)
        ][:limit]
        for run in free:
            run.owner = owner
            run.epoch += 1
        return free

    def claim_firings(self, owner: str, limit: int) -> list[FiringRecord]:
        return self.rows.firings.take_over(owner, limit, lambda of: self.is_dead(of, to=owner))

    def claim_outgoing(self, owner: str, limit: int) -> int:
        free = [each for each in self.rows.outbox.values() if self.is_dead(each.owner, to=owner)]
        chosen = sorted(free, key=lambda each: each.owner)[:limit]
        for event in chosen:
            event.owner = owner
        return len(chosen)

    # --- what is read ---
    def outgoing(self, owner: str | None) -> list[OutgoingEvent]:
        """Return the staged events of a process, or of all; where those of an origin are, in the order of `seq`."""
        staged = list(self.rows.outbox.values())
        others = [each for each in staged if owner not in (None, each.owner)]
        first = {of.origin: min(each.seq for each in others if each.origin == of.origin) for of in others}
        mine = [each for each in staged if each not in others and each.seq <= first.get(each.origin, each.seq)]
        left = sorted(mine, key=lambda each: each.seq, reverse=True)
        by_origin = {origin: [each for each in left if each.origin == origin] for origin in {e.origin for e in mine}}
        return [by_origin[each.origin].pop() for each in mine]

    def listed(self) -> list[RunRecord]:
        """Return all runs, newest first."""
        return [self.rows.runs[key] for key in sorted(self.rows.runs, reverse=True)]

    def found(self, wanted: RunFilter) -> list[RunRecord]:
        return [run for run in self.listed() if _is_wanted(run, wanted)]

    def unended(self) -> list[RunRecord]:
        return [run for run in reversed(self.listed()) if run.root_key is None and not run.status.ended]

    def latest(self, run_id: str) -> RunRecord | None:
        attempts = [run for run in self.rows.runs.values() if run.run_id == run_id]
        return max(attempts, key=lambda run: run.attempt, default=None)

    def steps(self, key: str) -> list[StepRecord]:
        return sorted((each for each in self.rows.steps.values() if each.run_key == key), key=lambda each: each.seq)

    def children(self, key: str) -> list[RunRecord]:
        return [run for run in reversed(self.listed()) if run.root_key == key]

    def signal(self, topic: str, since_us: int) -> Signal | None:
        came = [each for each in self.rows.signals if each.topic == topic and each.at_us >= since_us]
        return min(came, key=lambda each: each.at_us, default=None)

    def signalled(self, owner: str, signals: Sequence[Signal]) -> list[RunRecord]:
        """Return an owner's runs for which one of these signals came."""

        def has_come(root: RunRecord) -> bool:
            keys = {root.key, *(child.key for child in self.children(root.key))}
            waiting = [step for key in keys for step in self.steps(key) if step.state is StepState.WAITING]
            topics = {step.awaits for step in waiting if step.awaits}
            return any(each.topic in topics and each.at_us >= root.created_us for each in signals)

        return [run for run in self.unended() if run.owner == owner and has_come(run)]

    # --- retention ---
    def prune_runs(self, before_us: int, workflow: str | None, without: Sequence[str], limit: int) -> int:
        old = [
            run.key
            for run in reversed(self.listed())
            if run.root_key is None
            and run.ended_us is not None
            and run.ended_us < before_us
            and (run.workflow not in without if workflow is None else run.workflow == workflow)
        ][:limit]
        gone = {run.key for run in self.listed() if run.key in old or run.root_key in old}
        self.rows.runs = {key: run for key, run in self.rows.runs.items() if key not in gone}
        self.rows.steps = {of: step for of, step in self.rows.steps.items() if of[0] not in gone}
        return len(old)

    def prune_others(self, before_us: int, prefix: str) -> tuple[int, int, int]:
        """Forget old events that were handled and receipts, firings, and signals whose topic begins so; count each."""
        rows = self.rows
        handled = {id_: each for id_, each in rows.handled.items() if each.handled_us >= before_us}
        signals = [each for each in rows.signals if each.at_us >= before_us or not each.topic.startswith(prefix)]
        receipts = rows.queues.forget_old(before_us)
        gone = (
            len(rows.handled) - len(handled) + receipts,
            rows.firings.forget_old(before_us),
            len(rows.signals) - len(signals),
        )
        rows.handled, rows.signals = handled, signals
        return gone


def _is_wanted(run: RunRecord, wanted: RunFilter) -> bool:
    text = " ".join([run.run_id, run.workflow, (run.input or b"").decode(), run.errors.decode()]).casefold()
    kind, _, name = (wanted.trigger or "").partition(":")
    trigger = f'"kind":"{kind}"' + (f',"name":"{name}"' if name else "")
    return (
        wanted.workflow in (None, run.workflow)
        and wanted.status in (None, run.status)
        and (wanted.since_us or 0) <= run.created_us
        and (wanted.trigger is None or trigger.encode() in run.trigger)
        and (wanted.text or "").casefold() in text
    )
