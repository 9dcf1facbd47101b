"""Records to put into a store: everything that a test does not care about is filled in."""

from dataclasses import replace
from typing import Any

from daemon.clock import new_id
from daemon.store.job_model import ClaimOutcome, Deployed, FiringClaim, FiringRecord, FiringState, JobDeclaration
from daemon.store.model import (
    OutgoingEvent,
    QueuedDelivery,
    Receipt,
    RunRecord,
    RunStatus,
    Signal,
    StepRecord,
    StepState,
)
from daemon.store.port import Store
from daemon.store.writes import InsertRun, Outcome, PutSignal, RecordHandled, UpdateFiring

APP = "shop"
ME = "process-1"
OTHER = "process-2"
GONE = "process-that-never-was"


def run(name: str, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "key": f"key-{name}",
        "app": APP,
        "run_id": f"run-{name}",
        "attempt": 1,
        "workflow": "place-order",
        "status": RunStatus.RUNNING,
        "trigger": b'{"kind":"call","name":"","id":""}',
        "input": b'{"sku":"A-1"}',
        "graph_hash": "abc",
        "owner": ME,
        "created_us": 1_000,
        "updated_us": 1_000,
    }
    return RunRecord(**values | changes)


def names(records: list[RunRecord]) -> list[str]:
    """The names that these runs got."""
    return [record.key.removeprefix("key-") for record in records]


def started(name: str, **changes: Any) -> InsertRun:
    return InsertRun(run(name, **changes))


def child(name: str, *, of: str, **changes: Any) -> RunRecord:
    values = {"parent_key": f"key-{of}", "root_key": f"key-{of}", "owner": "", "workflow": "ship-order"}
    return run(name, **values | changes)


def ended(name: str, at_us: int, **changes: Any) -> RunRecord:
    """A run that began and ended at a time, which its key tells."""
    times = {"key": new_id(at_us), "created_us": at_us, "updated_us": at_us, "ended_us": at_us}
    return run(name, **times | {"status": RunStatus.COMPLETED} | changes)


def step(of: str, name: str, **changes: Any) -> StepRecord:
    values: dict[str, Any] = {
        "run_key": f"key-{of}",
        "name": name,
        "seq": 1,
        "kind": "step",
        "state": StepState.COMPLETED,
        "attempts": 1,
        "started_us": 1_000,
    }
    return StepRecord(**values | changes)


def delivery(event: str, **changes: Any) -> QueuedDelivery:
    values: dict[str, Any] = {
        "seq": 0,
        "app": APP,
        "subscriber": "greet",
        "event_id": event,
        "event_name": "customer.created",
        "source": "crm",
        "headers": b"{}",
        "body": b'{"name":"Ada"}',
        "attempt": 1,
        "due_us": 1_000,
        "first_seen_us": 1_000,
    }
    return QueuedDelivery(**values | changes)


def handled(event: str, **changes: Any) -> RecordHandled:
    values: dict[str, Any] = {
        "app": APP,
        "subscriber": "greet",
        "source": "crm",
        "event_name": "customer.created",
        "event_id": event,
        "handled_us": 1_000,
        "body_hash": b"hash",
    }
    return RecordHandled(**values | changes)


def receipt(event: str, **changes: Any) -> Receipt:
    values: dict[str, Any] = {
        "app": APP,
        "subscriber": "greet",
        "source": "crm",
        "event_name": "customer.created",
        "event_id": event,
        "mark": "mark-1",
        "first_seen_us": 1_000,
    }
    return Receipt(**values | changes)


def firing(scheduled_us: int, **changes: Any) -> FiringRecord:
    values: dict[str, Any] = {
        "app": APP,
        "job": "nightly",
        "scheduled_us": scheduled_us,
        "state": FiringState.RUNNING,
        "owner": ME,
        "attempt": 1,
        "started_us": scheduled_us,
    }
    return FiringRecord(**values | changes)


async def fire(store: Store, *firings: FiringRecord) -> None:
    """Have firings in a store, which their owners have claimed, and which went on since then."""
    for each in firings:
        await store.declare_jobs(Deployed(each.app, each.owner, "", 0, [JobDeclaration(each.job, "")]))
        claim = FiringClaim(replace(each, state=FiringState.RUNNING), "", overlap="allow")
        (claimed,) = await store.claim_due(each.app, [claim], now_us=each.started_us)
        assert claimed.outcome is ClaimOutcome.RUNNING
        assert await store.commit(UpdateFiring(each)) is Outcome.APPLIED


def outgoing(id: str, **changes: Any) -> OutgoingEvent:
    values: dict[str, Any] = {
        "id": id,
        "app": APP,
        "origin": "run-1",
        "seq": 1,
        "message": b"{}",
        "created_us": 1_000,
    }
    return OutgoingEvent(**values | changes)


def signal(id: str, **changes: Any) -> Signal:
    values: dict[str, Any] = {"app": APP, "topic": "paid:1", "id": id, "body": b"{}", "at_us": 2_000}
    return Signal(**values | changes)


def came(id: str, *workflows: str, **changes: Any) -> PutSignal:
    return PutSignal(signal(id, **changes), workflows)
