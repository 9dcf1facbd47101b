"""What a store keeps of jobs and of their firings, and what is asked of it before one fires.

Those of which there are thousands at a time are not frozen, which would take twice as long; nobody changes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Overlap = Literal["skip", "queue", "allow"]
OPEN_MAX = 1_000
"""How many firings of one job may run or wait at one time; whatever comes due beyond is skipped."""


class FiringState(StrEnum):
    """Where one occurrence of a job stands.

    waiting (for its delay, or its turn) --> running --> completed | failed
       +--> skipped                     missed, skipped: nobody ran it
    """

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"


@dataclass(slots=True)
class FiringRecord:
    """One occurrence of a job's schedule; (app, job, scheduled_us) is unique, and that is the claim.

    Attributes:
        owner: Which process has it; empty: nobody, and whoever fires the job takes it.
        attempt: How many were started; 0 while it waits for the first.
        started_us: When it began, or was claimed or ordered, as long as it has not.
        error: What went wrong last, or why it was skipped or missed; empty if it went well.
        epoch: How many times it was taken over from a process that died; what is written with a former one is void.
        due_us: Not to be begun before, for its jitter, or the next attempt of one that runs; None: as soon as it may.
        trigger: `schedule`, or `manual` if somebody ordered it.
        by: Who ordered it.
        reason: Why it was ordered, in words; may be empty.
        failures: JSON: a list of the failed attempts, of which only the last are kept.
    """

    app: str
    job: str
    scheduled_us: int
    state: FiringState
    owner: str
    attempt: int
    started_us: int
    ended_us: int | None = None
    error: str = ""
    epoch: int = 0
    due_us: int | None = None
    trigger: str = "schedule"
    by: str = ""
    reason: str = ""
    failures: bytes = b"[]"


@dataclass(frozen=True, slots=True)
class JobDeclaration:
    """A job as a process has it.

    Attributes:
        fingerprint: A hash of all that two processes must not have differently if both are to fire it.
        times: A hash of that part of it which says when it is due.
    """

    name: str
    fingerprint: str
    times: str = ""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The jobs of a process, as it was deployed.

    Attributes:
        app: The application's name.
        owner: The process.
        deployment: A hash of all its jobs; the same in every process that was deployed alike. It came up when the first
            process said it, and lives as long as one does that said it last.
        now_us: When it says so.
        jobs: Those that it fires, or some of them.
        dropped: Those that its configuration turns off; so they stay until one is claimed or declared.
    """

    app: str
    owner: str
    deployment: str
    now_us: int
    jobs: Sequence[JobDeclaration]
    dropped: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """Of all jobs that it has something to say of."""
        return [*(each.name for each in self.jobs), *self.dropped]


@dataclass(slots=True)
class JobRecord:
    """What the fleet knows of a job; (app, job) is unique.

    Attributes:
        fingerprint: Whose claims count; empty: the next to declare it says.
        times: As of `JobDeclaration`; empty: not known.
        deployed_us: When the deployment came up that the fingerprint is of.
        dealt_us: Until when its firing times are dealt with: what comes due later, and nobody claims, was missed.
        used: How many of its firings count for `max_runs`: those that were neither skipped nor missed nor ordered.
        dropped_us: Since when a configuration turns it off; None: it is claimed.
        paused_us: Since when it is paused; None: it is not.
        paused_by: Who paused it.
        paused_reason: Why, in words; may be empty.
        pauses: JSON: the last pauses that are over, each with its beginning, its end, and what is said of firings that
            came due between the two.
    """

    app: str
    job: str
    fingerprint: str
    times: str
    deployed_us: int
    dealt_us: int
    used: int = 0
    dropped_us: int | None = None
    paused_us: int | None = None
    paused_by: str = ""
    paused_reason: str = ""
    pauses: bytes = b"[]"

    @property
    def pause(self) -> str:
        """Who paused it and why, as a firing that is skipped for that says it."""
        by = f"paused by {self.paused_by}" if self.paused_by else "paused"
        return f"{by}: {self.paused_reason}" if self.paused_reason else by


@dataclass(slots=True)
class FiringClaim:
    """One firing time of a job that has come.

    Attributes:
        record: The row, as it is to be: `running` as attempt 1, if it may begin at once; `waiting` as attempt 0, if it
            has to wait in any case; `missed`, if nobody is to run it.
        fingerprint: Of the job, as this process has it.
        overlap: What becomes of it while another firing of the job runs or waits.
        max_runs: After how many firings the job is over; None: never.
    """

    record: FiringRecord
    fingerprint: str
    overlap: Overlap = "skip"
    max_runs: int | None = None


class ClaimOutcome(StrEnum):
    """What became of a claim, or of a firing that waited.

    RUNNING: it is the claimant's, and begins now. WAITING: it is the claimant's, and begins by `begin_firing`. SKIPPED,
    PAUSED, MISSED: it was recorded and has ended, the first two as `skipped`. TAKEN: it is somebody else's, or not to
    be had in this way any more. OVER: the job has had all its firings. SUPERSEDED: the job is declared otherwise.
    """

    RUNNING = "running"
    WAITING = "waiting"
    SKIPPED = "skipped"
    PAUSED = "paused"
    MISSED = "missed"
    TAKEN = "taken"
    OVER = "over"
    SUPERSEDED = "superseded"


@dataclass(slots=True)
class Claimed:
    """What became of a claim.

    Attributes:
        record: The row as it is stored now; None if the claimant has no part in it: taken, over or superseded.
    """

    outcome: ClaimOutcome
    record: FiringRecord | None = None


class JobAction(StrEnum):
    """What somebody may order a job to do."""

    PAUSE = "pause"
    RESUME = "resume"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What somebody did to a job, and why; these are appended and never changed.

    Attributes:
        by: Who, in words.
        reason: Why, in words; may be empty.
        position: Given by the store; orders them. 0 before it is stored.
    """

    app: str
    job: str
    action: JobAction
    by: str
    reason: str
    at_us: int
    position: int = field(default=0, compare=False)
