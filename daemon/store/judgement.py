"""What becomes of claims and declarations of jobs, as all stores judge it; pure."""

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace

from daemon.store.job_model import (
    OPEN_MAX,
    Claimed,
    ClaimOutcome,
    Deployed,
    FiringClaim,
    FiringRecord,
    FiringState,
    JobAction,
    JobOrder,
    JobRecord,
    Overlap,
)

GOES_ON = "the firing before goes on"
TOO_MANY = f"{OPEN_MAX:,} firings of this job run or wait already"
TAKEN = Claimed(ClaimOutcome.TAKEN)
_PAUSES_MAX = 100  # that are remembered of a job, since somebody may still claim what came due in them
_NO_PAUSES = b"[]"
_OVER = Claimed(ClaimOutcome.OVER)
_SUPERSEDED = Claimed(ClaimOutcome.SUPERSEDED)
_WANTED = {FiringState.RUNNING: ClaimOutcome.RUNNING, FiringState.WAITING: ClaimOutcome.WAITING}


# --- claims ---


@dataclass(slots=True)
class Tally:
    """A job while its claims are judged: how many of its firings run or wait, and what changes of it.

    It is written if it was claimed at all; then it is not dropped any more.
    """

    job: JobRecord
    going: int
    used: int
    dealt_us: int
    is_claimed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of claims.

    Attributes:
        claimed: The answer to each.
        jobs: The jobs that have changed.
    """

    claimed: list[Claimed]
    jobs: list[Tally]

    @property
    def rows(self) -> list[FiringRecord]:
        """The firings to write."""
        return [each.record for each in self.claimed if each.record is not None]


def judge_claims(
    claims: Iterable[FiringClaim],
    *,
    jobs: Mapping[str, JobRecord],
    taken: Container[tuple[str, int]],
    going: Mapping[str, int],
    now_us: int,
) -> Verdict:
    """Say what becomes of claims, in their order.

    Args:
        claims: Those of one job in the order of their times.
        jobs: What is known of their jobs.
        taken: The jobs and times of firings that are there.
        going: How many firings of each job run or wait; none where it says nothing.
        now_us: When those end that are skipped.
    """
    tallies = {name: Tally(job, going.get(name, 0), job.used, job.dealt_us) for name, job in jobs.items()}
    claimed = []
    new: set[tuple[str, int]] = set()
    for claim in claims:
        key = claim.record.job, claim.record.scheduled_us
        tally = tallies.get(claim.record.job)
        if tally is None or tally.job.fingerprint != claim.fingerprint:
            claimed.append(_SUPERSEDED)
            continue
        tally.is_claimed = True
        tally.dealt_us = max(tally.dealt_us, claim.record.scheduled_us)
        answer = TAKEN if key in taken or key in new else _judge(claim, tally, now_us)
        claimed.append(answer)
        if answer.record is not None:
            new.add(key)
        if answer.outcome in (ClaimOutcome.RUNNING, ClaimOutcome.WAITING):
            tally.going += 1
            tally.used += 1
    return Verdict(claimed, [each for each in tallies.values() if each.is_claimed])


def _judge(claim: FiringClaim, tally: Tally, now_us: int) -> Claimed:
    record = claim.record
    if claim.max_runs is not None and tally.used >= claim.max_runs:
        return _OVER
    if pause := _pause_over(record, tally.job):
        return Claimed(ClaimOutcome.PAUSED, skipped(record, pause, now_us))
    if record.state is FiringState.MISSED:
        return Claimed(ClaimOutcome.MISSED, record)
    must_yield = record.state is FiringState.RUNNING and tally.going > 0 and claim.overlap != "allow"
    if tally.going >= OPEN_MAX or (must_yield and claim.overlap == "skip"):
        reason = TOO_MANY if tally.going >= OPEN_MAX else GOES_ON
        return Claimed(ClaimOutcome.SKIPPED, skipped(record, reason, now_us))
    if must_yield:
        return Claimed(ClaimOutcome.WAITING, replace(record, state=FiringState.WAITING, attempt=0))
    return Claimed(_WANTED[record.state], record)


def _pause_over(record: FiringRecord, job: JobRecord) -> str:
    """Return by which pause a firing does not begin, as its row says it; empty: by none."""
    at_us = record.scheduled_us
    if job.paused_us is not None and (record.state is not FiringState.MISSED or at_us >= job.paused_us):
        return job.pause
    if job.pauses == _NO_PAUSES:
        return ""
    return next((pause for since_us, until_us, pause in json.loads(job.pauses) if since_us <= at_us <= until_us), "")


def skipped(record: FiringRecord, reason: str, now_us: int) -> FiringRecord:
    """Return a firing as one that nobody runs, for a reason."""
    return replace(record, state=FiringState.SKIPPED, attempt=0, due_us=None, ended_us=now_us, error=reason)


def judge_beginning(
    asked: FiringRecord,
    stored: FiringRecord | None,
    job: JobRecord | None,
    *,
    overlap: Overlap,
    runs: bool,
    is_ahead: bool,
    now_us: int,
) -> Claimed:
    """Say what becomes of a firing that waits.

    Args:
        asked: As whoever asks knows it.
        stored: Its row.
        job: What is known of its job.
        overlap: What becomes of it if another one of the job goes on.
        runs: Whether another one of the job runs.
        is_ahead: Whether an earlier one waits that is due.
        now_us: When it begins, or ends if it is skipped.
    """
    if (
        stored is None
        or stored.state is not FiringState.WAITING
        or (stored.owner, stored.epoch) != (asked.owner, asked.epoch)
    ):
        return TAKEN
    if job is not None and job.paused_us is not None and stored.trigger == "schedule":
        return Claimed(ClaimOutcome.PAUSED, skipped(stored, job.pause, now_us))
    if runs and overlap == "skip":
        return Claimed(ClaimOutcome.SKIPPED, skipped(stored, GOES_ON, now_us))
    if (runs or is_ahead) and overlap == "queue":
        return Claimed(ClaimOutcome.WAITING, stored)
    begun = replace(stored, state=FiringState.RUNNING, attempt=stored.attempt + 1, started_us=now_us, due_us=None)
    return Claimed(ClaimOutcome.RUNNING, begun)


def runs(other: FiringRecord) -> bool:
    """Tell whether another firing runs, or waits for its next attempt."""
    return other.state is FiringState.RUNNING


def is_ahead(other: FiringRecord, asked: FiringRecord, now_us: int) -> bool:
    """Tell whether another firing waits that is earlier, and due."""
    is_due = other.due_us is None or other.due_us <= now_us
    return other.state is FiringState.WAITING and other.scheduled_us < asked.scheduled_us and is_due


def discount(claimed: Claimed) -> int:
    """Return how many firings less count for `max_runs` after a beginning."""
    record = claimed.record
    is_skipped = claimed.outcome in (ClaimOutcome.SKIPPED, ClaimOutcome.PAUSED)
    return int(is_skipped and record is not None and record.trigger == "schedule")


def may_trigger(overlap: Overlap, going: int) -> bool:
    """Tell whether a firing may be ordered while so many of its job run or wait."""
    return going < (1 if overlap == "skip" else OPEN_MAX)


def first_time(scheduled_us: int) -> int:
    """Return the time that an ordered firing has, if it is free: never a whole millisecond, as schedules have."""
    return scheduled_us if scheduled_us % 1_000 else scheduled_us + 1


def ordered(record: FiringRecord, scheduled_us: int) -> FiringRecord:
    """Return the row of a firing that is ordered."""
    return replace(
        record, scheduled_us=scheduled_us, state=FiringState.WAITING, owner="", attempt=0, epoch=0, trigger="manual"
    )


def order_of(record: FiringRecord) -> JobOrder:
    """Return what is noted of a firing that is ordered."""
    return JobOrder(record.app, record.job, JobAction.TRIGGER, record.by, record.reason, record.started_us)


# --- declarations ---


def judge_declarations(
    deployed: Deployed, *, jobs: Mapping[str, JobRecord], came_up_us: int, lives: Callable[[int], bool]
) -> dict[str, JobRecord]:
    """Return the jobs that have changed, or are new, by name.

    Args:
        deployed: As the process has them that asks.
        jobs: What is known of those.
        came_up_us: When its deployment did.
        lives: Tells whether another living process has the deployment that came up at a time.
    """
    changed: dict[str, JobRecord] = {}
    living: dict[int, bool] = {}
    now_us = deployed.now_us
    for each in deployed.jobs:
        was = jobs.get(each.name)
        if was is None:
            changed[each.name] = JobRecord(deployed.app, each.name, each.fingerprint, each.times, came_up_us, now_us)
            continue
        if was.fingerprint not in (each.fingerprint, "") and came_up_us <= was.deployed_us:
            if was.deployed_us not in living:
                living[was.deployed_us] = lives(was.deployed_us)
            if living[was.deployed_us]:
                continue
        is_other = was.dropped_us is not None or was.times not in (each.times, "")
        now = replace(
            was,
            fingerprint=each.fingerprint,
            times=each.times,
            deployed_us=max(was.deployed_us, came_up_us) if was.fingerprint == each.fingerprint else came_up_us,
            dealt_us=max(was.dealt_us, now_us) if is_other else was.dealt_us,
            dropped_us=None,
        )
        if now != was:
            changed[each.name] = now
    for name in deployed.dropped:
        was = jobs.get(name)
        if was is not None and was.dropped_us is None:
            changed[name] = replace(was, dropped_us=now_us)
    return changed


def judge_order(order: JobOrder, job: JobRecord | None) -> JobRecord | None:
    """Return what a job becomes that is paused or resumed; None if it is so already."""
    # One that nobody has declared is as good as dropped: what comes before somebody does is nobody's to catch up.
    was = job or JobRecord(order.app, order.job, "", "", 0, order.at_us, dropped_us=order.at_us)
    if order.action is JobAction.PAUSE and was.paused_us is None:
        return replace(was, paused_us=order.at_us, paused_by=order.by, paused_reason=order.reason)
    if order.action is JobAction.RESUME and was.paused_us is not None:
        pauses = [each for each in json.loads(was.pauses) if each[1] > was.dealt_us]
        pauses = [*pauses, (was.paused_us, order.at_us, was.pause)][-_PAUSES_MAX:]
        return replace(was, paused_us=None, paused_by="", paused_reason="", pauses=json.dumps(pauses).encode())
    return None
