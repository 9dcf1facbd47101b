"""What may happen to a store: to its runs and what others ask of them, to its outbox, and to firings."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from daemon.store.job_model import Deployed, FiringClaim, FiringState, JobDeclaration
from daemon.store.model import QUEUED, RunRecord, RunStatus, Signal, StepState
from daemon.store.port import RunFilter
from daemon.store.writes import (
    DropOutgoing,
    FenceRun,
    GiveBack,
    InsertRun,
    PutSignal,
    PutStep,
    RecordHandled,
    ReleaseFiring,
    ReopenRun,
    RequestCancel,
    RequireAwaiting,
    RequireEnded,
    RequireNoSignal,
    TakePlace,
    UpdateChild,
    UpdateFiring,
    UpdateRun,
    Write,
)
from tests.contract import records
from tests.contract.firing_model import OPEN
from tests.contract.queue_rules import ProcessRules
from tests.contract.store_driver import MANY, TOPICS, WORKFLOWS

TRIGGERS = (
    b'{"kind":"call","name":"","id":""}',
    b'{"kind":"event","name":"greet","id":"1"}',
    b'{"kind":"event","name":"greet-again","id":"1"}',
)
ENDS = (RunStatus.COMPLETED, RunStatus.REVERTED, RunStatus.FAILED, RunStatus.CANCELLED)
GOING = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.COMPENSATING)

names = st.integers(0, len(TOPICS) - 1)
stales = st.sampled_from(["", "", "", "owner", "epoch"])
few, yes = st.integers(0, 5), st.booleans()
owners = st.integers(0, 2)
often = st.sampled_from([True, True, False])
rarely = st.sampled_from([False] * 5 + [True])
wanted = {
    "workflow": st.sampled_from(WORKFLOWS),
    "status": st.sampled_from(RunStatus),
    "trigger": st.sampled_from(["call", "event", "event:greet", "event:gre", "job"]),
    "since_us": st.sampled_from([5_000, 12_000]),
    "text": st.sampled_from(["RUN-1", "order", "ä", "refused", "100%", "10_%"]),
}
filters = st.builds(RunFilter) | st.fixed_dictionaries({}, optional=wanted).map(lambda by: RunFilter(**by))


def has_runs(machine: "StoreMachine") -> bool:
    return bool(machine.model.rows.runs)


def is_going(run: RunRecord) -> bool:
    return not run.status.ended and run.waiting_for != QUEUED


class StoreMachine(ProcessRules):
    """What may happen to a store."""

    heard: tuple[int, list[Signal]] = (0, [])

    # --- processes ---
    @initialize()
    def begin(self) -> None:
        for at in range(2):
            self.live(at)
            self.commit(InsertRun(self.made(f"run-{at}", owner=self.owner(at))), more=False)
        self.read("declare_jobs", Deployed(self.app, self.owner(0), "", 0, [JobDeclaration("nightly", "")]))

    # --- runs ---
    @rule(more=yes, name=few, attempt=st.integers(1, 2), of=owners, flow=yes, trigger=few, queued=yes, marked=rarely)
    def start(
        self, *, more: bool, name: int, attempt: int, of: int, flow: bool, trigger: int, queued: bool, marked: bool
    ) -> None:
        status = {"status": RunStatus.WAITING, "waiting_for": QUEUED} if queued else {}
        run = self.made(
            f"run-{name}",
            attempt=attempt,
            owner=self.owner(of),
            workflow=WORKFLOWS[flow],
            trigger=TRIGGERS[trigger % len(TRIGGERS)],
            input='{"to":"ÄRA","off":"100%"}'.encode() if name % 2 else None,
            **status,
        )
        done = [RecordHandled(self.app, "greet", "crm", "made", f"{name}", self.now_us)] if marked else []
        self.commit(InsertRun(run), *done, PutStep(records.step("", "first", run_key=run.key)), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, stale=rarely)
    def start_child(self, *, more: bool, at: int, stale: bool) -> None:
        root = self.run_at(at)
        child = self.made(f"child-{self.now_us}", owner="", parent_key=root.key, root_key=root.key, workflow="child")
        self.commit(FenceRun(root.key, root.owner, root.epoch - stale), InsertRun(child), more=more)

    @precondition(has_runs)
    @rule(
        more=yes, at=few, stale=stales, status=st.sampled_from(GOING), name=names, waits=often, emits=yes, poison=rarely
    )
    def write(
        self, *, more: bool, at: int, stale: str, status: RunStatus, name: int, waits: bool, emits: bool, poison: bool
    ) -> None:
        run = self.changed(self.run_at(at, is_going), status, stale)
        guard: Write = UpdateRun(run) if emits else FenceRun(run.key, run.owner, run.epoch)
        of_it = {"state": StepState.WAITING, "awaits": TOPICS[name]} if waits else {}
        step = records.step("", f"step-{name}", run_key=run.key, seq=name + 2, **of_it)
        self.commit(guard, PutStep(step), *[self.event(run.owner)] * emits, poison=poison, more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, stale=stales, status=st.sampled_from(ENDS), poison=rarely)
    def end(self, *, more: bool, at: int, stale: str, status: RunStatus, poison: bool) -> None:
        run = self.changed(self.run_at(at, is_going), status, stale)
        last = PutStep(records.step("", "last", run_key=run.key, seq=9))
        self.commit(UpdateRun(run), last, self.event(run.owner), poison=poison, more=more)

    def changed(self, run: RunRecord, status: RunStatus, stale: str) -> RunRecord:
        """Return a run as its owner would have it be, or a former owner."""
        now_us = self.later()
        if stale == "owner":
            run.owner = self.owner(now_us // 1_000)
        run.epoch -= stale == "epoch"
        run.cancel_us = None  # which it does not know of
        run.status, run.updated_us, run.ended_us = status, now_us, now_us if status.ended else None
        run.result, run.waiting_for, run.wake_us = b"1", "a timer" if status is RunStatus.WAITING else "", now_us
        run.errors = b'[{"message":"Refused"}]' if status is RunStatus.FAILED else b"[]"
        return run

    @precondition(has_runs)
    @rule(more=yes, at=few, waits=often, status=st.sampled_from([*GOING, *ENDS]))
    def write_child(self, *, more: bool, at: int, waits: bool, status: RunStatus) -> None:
        root = self.run_at(at)
        children = deepcopy(self.model.children(root.key))
        for child in children[-1:]:
            child.status, child.updated_us = status, self.later()
            of_it = {"state": StepState.WAITING, "awaits": TOPICS[0]} if waits else {}
            step = records.step("", "inside", run_key=child.key, **of_it)
            self.commit(FenceRun(root.key, root.owner, root.epoch), UpdateChild(child), PutStep(step), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few)
    def cancel(self, *, more: bool, at: int) -> None:
        self.commit(RequestCancel(self.run_at(at, is_going).key, self.later()), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, of=owners)
    def reopen(self, *, more: bool, at: int, of: int) -> None:
        run = self.run_at(at, lambda run: run.status is RunStatus.FAILED)
        run.status, run.owner, run.epoch = RunStatus.COMPENSATING, self.owner(of), run.epoch + 1
        run.updated_us, run.ended_us = self.later(), None
        self.commit(ReopenRun(run), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few)
    def run_again(self, *, more: bool, at: int) -> None:
        run = self.run_at(at, lambda run: run.status.ended)
        again = self.made(run.run_id, attempt=run.attempt + 1, owner=run.owner, workflow=run.workflow)
        self.commit(InsertRun(again), RequireEnded(run.key), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, limit=st.integers(1, 3))
    def take_place(self, *, more: bool, at: int, limit: int) -> None:
        run = self.run_at(at, lambda run: run.waiting_for == QUEUED)
        fence = FenceRun(run.key, run.owner, run.epoch)
        self.commit(fence, TakePlace(run.key, self.app, run.workflow, limit), more=more)

    @rule(of=owners, dead=owners, flows=st.sampled_from([WORKFLOWS, WORKFLOWS[:1], ()]), limit=names, declined=rarely)
    def take_over(self, of: int, dead: int, flows: Sequence[str], limit: int, *, declined: bool) -> None:
        self.die(dead)
        without = {run.key: run.epoch for run in self.model.unended()} if declined else {}
        owner, limit = self.owner(of), limit + 1
        found = self.read("claim_runs", self.app, owner, flows, limit=limit, without=without)
        assert found == self.model.claim_runs(owner, flows, limit, without)

    @precondition(has_runs)
    @rule(more=yes, at=few)
    def give_back(self, *, more: bool, at: int) -> None:
        run = self.run_at(at, lambda run: run.epoch > 0)
        if run.epoch:
            self.commit(GiveBack(run), more=more)

    # --- what comes from outside ---
    @rule(
        more=yes, topic=names, name=few, flow=st.sampled_from([(), (), WORKFLOWS[:1]]), ago=st.sampled_from([0, 5_000])
    )
    def come(self, *, more: bool, topic: int, name: int, flow: tuple[str, ...], ago: int) -> None:
        of = {"app": self.app, "topic": TOPICS[topic], "at_us": self.later() - ago}
        self.commit(PutSignal(records.signal(f"signal-{name}", **of), flow), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, name=names)
    def report(self, *, more: bool, at: int, name: int) -> None:
        run = self.run_at(at, lambda run: any(step.awaits == TOPICS[name] for step in self.model.steps(run.key)))
        came = records.signal(f"output-{at}", app=self.app, topic=TOPICS[name], at_us=self.later())
        self.commit(RequireAwaiting(run.key, f"step-{name}", TOPICS[name]), PutSignal(came), more=more)

    @precondition(has_runs)
    @rule(more=yes, at=few, name=names)
    def be_over(self, *, more: bool, at: int, name: int) -> None:
        run = self.run_at(at)
        step = records.step("", f"step-{name}", run_key=run.key, seq=name + 2, state=StepState.FAILED)
        none_came = RequireNoSignal(self.app, TOPICS[name], run.created_us)
        self.commit(FenceRun(run.key, run.owner, run.epoch), none_came, PutStep(step), more=more)

    # --- events and jobs ---
    @rule(more=yes, name=few, of=st.none() | owners)
    def handle(self, *, more: bool, name: int, of: int | None) -> None:
        done = RecordHandled(self.app, "greet", "crm", "made", f"{name}", self.later())
        self.commit(done, self.event("" if of is None else self.owner(of)), more=more)

    @rule(count=few, of=owners, more=yes)
    def relay(self, count: int, of: int, *, more: bool) -> None:
        found = self.read("outgoing", self.app, limit=MANY, owner=self.owner(of))
        assert found == self.model.outgoing(self.owner(of))
        self.commit(DropOutgoing(tuple(event.id for event in found[:count])), more=more)

    @rule(of=owners, dead=owners, limit=few)
    def take_over_events(self, of: int, dead: int, limit: int) -> None:
        self.die(dead)
        count = self.read("claim_outgoing", self.app, self.owner(of), limit=limit + 1)
        assert count == self.model.claim_outgoing(self.owner(of), limit + 1)

    @rule(at=few, of=owners)
    def fire(self, at: int, of: int) -> None:
        firing = records.firing(1 + at, app=self.app, owner=self.owner(of))
        claims = [FiringClaim(replace(firing), "", overlap="allow")]
        found = self.read("claim_due", self.app, claims, now_us=self.now_us)
        assert found == [self.model.rows.firings.claim(firing)]

    @precondition(lambda machine: machine.model.rows.firings.known)
    @rule(more=yes, at=few, stale=rarely, state=st.sampled_from(FiringState))
    def have_fired(self, *, more: bool, at: int, stale: bool, state: FiringState) -> None:
        firing = deepcopy([*self.model.rows.firings.known.values()][at % len(self.model.rows.firings.known)])
        firing.owner = self.owner(at) if stale else firing.owner
        firing.state, firing.ended_us = state, None if state in OPEN else self.later()
        firing.due_us = self.later() if state in OPEN and stale else None
        self.commit(UpdateFiring(firing), more=more)

    @precondition(lambda machine: machine.model.rows.firings.known)
    @rule(more=yes, at=few, stale=rarely)
    def release_a_firing(self, *, more: bool, at: int, stale: bool) -> None:
        firing = deepcopy([*self.model.rows.firings.known.values()][at % len(self.model.rows.firings.known)])
        firing.owner = self.owner(at) if stale else firing.owner
        self.commit(ReleaseFiring(firing), more=more)

    @rule(of=owners, limit=st.integers(1, 3))
    def take_over_firings(self, of: int, limit: int) -> None:
        found = self.read("claim_firings", self.app, self.owner(of), ["nightly"], limit=limit)
        assert found == self.model.claim_firings(self.owner(of), limit)

    # --- retention ---
    @rule(ago=few, flow=st.sampled_from([None, WORKFLOWS[0]]), kept=yes, limit=st.integers(1, 3))
    def prune_runs(self, ago: int, flow: str | None, limit: int, *, kept: bool) -> None:
        before_us, without = self.now_us - ago * 2_000, WORKFLOWS[1:] if kept else ()
        count = self.read("prune_runs", self.app, before_us=before_us, workflow=flow, without=without, limit=limit)
        assert count == self.model.prune_runs(before_us, flow, without, limit)

    @rule(ago=few, prefix=st.sampled_from(["event/", "step/"]))
    def prune_others(self, ago: int, prefix: str) -> None:
        before_us = self.now_us - ago * 2_000
        handled = self.read("prune_handled", self.app, before_us=before_us, limit=MANY)
        firings = self.read("prune_firings", self.app, before_us=before_us, limit=MANY)
        signals = self.read("prune_signals", self.app, topic_prefix=prefix, before_us=before_us, limit=MANY)
        assert (handled, firings, signals) == self.model.prune_others(before_us, prefix)

    # --- what is seen ---
    @rule(wanted=filters, limit=st.integers(1, 4), within_s=st.sampled_from([inf, 0.0]))
    def look_for_runs(self, wanted: RunFilter, limit: int, within_s: float) -> None:
        pages = [self.read("runs", self.app, wanted, after=None, limit=limit, within_s=within_s)]
        while pages[-1].next is not None:
            after = pages[-1].next
            pages.append(self.read("runs", self.app, wanted, after=after, limit=limit, within_s=within_s))
        assert [run for page in pages for run in page.records] == self.model.found(wanted)

    @rule()
    def listen(self) -> None:
        after, known = self.heard
        for owner in map(self.owner, range(3)):
            everything, last = self.read("signalled", self.app, owner)
            new, _ = self.read("signalled", self.app, owner, after=after)
            signals = self.model.rows.signals
            assert everything == self.model.signalled(owner, signals)
            assert new == self.model.signalled(owner, [each for each in signals if each not in known])
            self.heard = last, deepcopy(signals)
