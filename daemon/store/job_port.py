"""What a store promises of jobs: one firing in the whole fleet, and what everybody may know and order."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from daemon.store.job_model import (
    Claimed,
    Deployed,
    FiringClaim,
    FiringRecord,
    FiringState,
    JobOrder,
    JobRecord,
    Overlap,
)


class JobStore(Protocol):
    """The part of a store that jobs are fired by.

        claim_due --> running -------------------------> completed | failed
            |           ^                                     ^
            +--> waiting: begin_firing (BUSY: look again) ----+--> skipped
            +--> skipped | missed

    Guarantees: a firing (app, job, scheduled_us) is one row, which one process in the fleet gets. Overlap, pause,
    `max_runs` and whose definition counts are judged in the transaction that writes the row, one at a time for each
    job: two processes never have two firings of a job run that must not overlap. A firing of a dead process counts as
    running until somebody has taken it over; so does one whose end is still on its way to the database.

    Every method is one transaction, and raises `StoreUnavailableError` if the database cannot be reached; then it may
    have happened all the same, and asking again is safe: of claims, the same process gets what it has got already.
    """

    async def declare_jobs(self, deployed: Deployed) -> Mapping[str, JobRecord]:
        """Say which jobs a process fires, in which definition; return what is known of each.

        A job that nobody knows is dealt with until now, so that it does not catch up; so is one that was dropped. One
        that has this fingerprint stays as it is. One that has another takes this one on if this deployment came up
        later than the one that it is of, or if no living process has that one: then it is dealt with until now if its
        times are others. Else it is returned as it is, and this process's claims of it are superseded.
        """

    async def claim_due(self, app: str, claims: Sequence[FiringClaim], *, now_us: int) -> Sequence[Claimed]:
        """Claim firings whose time has come, all for one process; return what became of each, in their order.

        Those of one job come in the order of their times. `used` is raised for each that runs or waits, and `dealt_us`
        to the time of whichever is not superseded. Firing times before `dealt_us` may be claimed as any other.
        """

    async def begin_firing(self, record: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
        """Have a firing of this process's that waits begin, as its next attempt.

        WAITING: another one runs, or, for `queue`, an earlier one waits that is due: look again. SKIPPED: likewise, for
        `skip`. PAUSED: the job is paused and nobody ordered the firing. TAKEN: it is not this owner's and epoch's.
        The end of a firing may be told as a hint; see `UpdateFiring`.
        """

    async def claim_firings(self, app: str, owner: str, jobs: Sequence[str], *, limit: int) -> list[FiringRecord]:
        """Take over waiting and running firings of these jobs that are nobody's or a dead process's, earliest first.

        `attempt` is raised by 1 for one that runs, unless it waits for its next attempt (`due_us`). `epoch` is raised
        by 1 if its owner died: so often did a process die that had it, and what that owner still writes is void.
        """

    async def trigger_firing(self, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
        """Order a firing: `waiting`, nobody's, of the time that is asked for or a few microseconds later; hint at it.

        It is noted as an order, by `record.by` and for `record.reason`. None, and nothing is written, if a firing of
        the job runs or waits and `overlap` is `skip`, or if too many do.
        """

    async def order_job(self, order: JobOrder) -> bool:
        """Pause or resume a job, also one that nobody has declared yet; tell whether it was not so already.

        If it was, nothing is written. A pause is not made up for: what came due in it is PAUSED also if it is claimed
        when that one is over.
        """

    async def jobs(self, app: str, names: Sequence[str] | None = None) -> Mapping[str, JobRecord]:
        """Return what is known of these jobs, by name; of all that were ever declared or ordered, if none are given."""

    async def job_orders(self, app: str, job: str, *, limit: int, before: int | None = None) -> list[JobOrder]:
        """Return what was ordered of a job, the latest first; `before`: only those before this position."""

    async def last_firings(self, app: str, jobs: Sequence[str]) -> Mapping[str, FiringRecord]:
        """Return the latest firing of each of these jobs that has any, by name."""

    async def firings(
        self, app: str, job: str, *, limit: int, before_us: int | None = None, state: FiringState | None = None
    ) -> list[FiringRecord]:
        """Return a job's firings, latest first; `state`: only those in it."""
