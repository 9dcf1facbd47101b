"""Jobs to put into a store, and to claim firings of."""

from collections.abc import Sequence
from typing import Any

from daemon.store.job_model import (
    Claimed,
    ClaimOutcome,
    Deployed,
    FiringClaim,
    FiringRecord,
    FiringState,
    JobAction,
    JobDeclaration,
    JobOrder,
    JobRecord,
)
from daemon.store.port import Store
from daemon.store.writes import Outcome, UpdateFiring
from tests.contract.records import APP, ME, firing

RUNNING, WAITING, SKIPPED = ClaimOutcome.RUNNING, ClaimOutcome.WAITING, ClaimOutcome.SKIPPED
TAKEN, OVER, PAUSED, MISSED = ClaimOutcome.TAKEN, ClaimOutcome.OVER, ClaimOutcome.PAUSED, ClaimOutcome.MISSED
SUPERSEDED = ClaimOutcome.SUPERSEDED


async def declare(
    store: Store, *names: str, owner: str = ME, at_us: int = 50, deployment: str = "first", **changes: Any
) -> dict[str, JobRecord]:
    values = {"fingerprint": "f", "times": "t"} | changes
    dropped = values.pop("dropped", ())
    jobs = [JobDeclaration(name, **values) for name in names]
    return dict(await store.declare_jobs(Deployed(APP, owner, deployment, at_us, jobs, dropped)))


def claim(scheduled_us: int, **changes: Any) -> FiringClaim:
    options: dict[str, Any] = {"fingerprint": "f"}
    options |= {name: changes.pop(name) for name in ("fingerprint", "overlap", "max_runs") if name in changes}
    return FiringClaim(firing(scheduled_us, **changes), **options)


def waiting(scheduled_us: int, **changes: Any) -> FiringClaim:
    return claim(scheduled_us, **{"state": FiringState.WAITING, "attempt": 0} | changes)


async def claimed(store: Store, *claims: FiringClaim, now_us: int = 1_000) -> list[ClaimOutcome]:
    return outcomes(await store.claim_due(APP, claims, now_us=now_us))


def outcomes(answers: Sequence[Claimed]) -> list[ClaimOutcome]:
    return [each.outcome for each in answers]


async def known(store: Store, name: str = "nightly") -> JobRecord:
    return (await store.jobs(APP, [name]))[name]


async def end(store: Store, record: FiringRecord, *, hint: bool = False) -> Outcome:
    record.state, record.ended_us = FiringState.COMPLETED, 2_000
    return await store.commit(UpdateFiring(record, hint=hint))


def pause(**changes: Any) -> JobOrder:
    values: dict[str, Any] = {"app": APP, "job": "nightly", "action": JobAction.PAUSE, "by": "ada", "reason": "move"}
    return JobOrder(**{**values, "at_us": 500, **changes})


def resume(**changes: Any) -> JobOrder:
    return pause(**{"action": JobAction.RESUME, "reason": "", "at_us": 600} | changes)
