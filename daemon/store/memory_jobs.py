"""Jobs in this process's memory: what is known of each, and what was ordered."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.store import judgement
from daemon.store.job_model import Claimed, Deployed, FiringClaim, FiringRecord, JobAction, JobOrder, JobRecord, Overlap
from daemon.store.memory_firings import MemoryFirings


class MemoryJobs:
    """Jobs by name, and their firings where they are judged together. What it hands out are copies.

    Args:
        is_dead: Tells whether a process is dead to another.
        hint: Called when somebody may wait for what was written.
    """

    def __init__(
        self, firings: MemoryFirings, *, is_dead: Callable[[str, str], bool], hint: Callable[[], object]
    ) -> None:
        self._firings = firings
        self._is_dead = is_dead
        self._hint = hint
        self._jobs: dict[tuple[str, str], JobRecord] = {}
        self._orders: list[JobOrder] = []
        self._came_up: dict[tuple[str, str], int] = {}  # when, by app and deployment
        self._deployments: dict[str, tuple[str, str]] = {}  # app and deployment, by owner

    def of(self, app: str, names: Sequence[str] | None = None) -> dict[str, JobRecord]:
        """Return what is known of jobs of an app; None: of all."""
        if names is None:
            names = [name for of_app, name in self._jobs if of_app == app]
        return {name: self._jobs[app, name] for name in names if (app, name) in self._jobs}

    def declare(self, deployed: Deployed) -> dict[str, JobRecord]:
        """Say which jobs a process fires."""
        app, owner, deployment = deployed.app, deployed.owner, deployed.deployment
        came_up_us = self._came_up.setdefault((app, deployment), deployed.now_us)
        self._deployments[owner] = app, deployment

        def lives(since_us: int) -> bool:
            return any(
                of == app and self._came_up[of, what] == since_us and who != owner and not self._is_dead(who, owner)
                for who, (of, what) in self._deployments.items()
            )

        known = self.of(app, deployed.names)
        changed = judgement.judge_declarations(deployed, jobs=known, came_up_us=came_up_us, lives=lives)
        self._jobs |= {(app, name): job for name, job in changed.items()}
        return {each.name: self._jobs[app, each.name] for each in deployed.jobs}

    def claim_due(self, app: str, claims: Sequence[FiringClaim], now_us: int) -> list[Claimed]:
        """Claim firings."""
        names = {each.record.job for each in claims}
        verdict = judgement.judge_claims(
            claims,
            jobs=self.of(app, [*names]),
            taken=self._firings.taken(app, [(each.record.job, each.record.scheduled_us) for each in claims]),
            going={name: len(self._firings.going(app, name)) for name in names},
            now_us=now_us,
        )
        for each in verdict.jobs:
            job = replace(each.job, used=each.used, dealt_us=each.dealt_us, dropped_us=None)
            self._jobs[app, each.job.job] = job
        for record in verdict.rows:
            self._firings.put(record)
        return [replace(each, record=each.record and replace(each.record)) for each in verdict.claimed]

    def begin(self, asked: FiringRecord, *, overlap: Overlap, now_us: int) -> Claimed:
        """Have a firing begin that waits."""
        job = self._jobs.get((asked.app, asked.job))
        others = [each for each in self._firings.going(asked.app, asked.job) if each.scheduled_us != asked.scheduled_us]
        claimed = judgement.judge_beginning(
            asked,
            self._firings.one(asked.app, asked.job, asked.scheduled_us),
            job,
            overlap=overlap,
            runs=any(judgement.runs(each) for each in others),
            is_ahead=any(judgement.is_ahead(each, asked, now_us) for each in others),
            now_us=now_us,
        )
        if claimed.record is not None:
            self._firings.put(claimed.record)
        if job is not None:
            self._jobs[asked.app, asked.job] = replace(job, used=job.used - judgement.discount(claimed))
        return replace(claimed, record=claimed.record and replace(claimed.record))

    def trigger(self, record: FiringRecord, *, overlap: Overlap) -> FiringRecord | None:
        """Order a firing."""
        if not judgement.may_trigger(overlap, len(self._firings.going(record.app, record.job))):
            return None
        scheduled_us = judgement.first_time(record.scheduled_us)
        while self._firings.one(record.app, record.job, scheduled_us) is not None:
            scheduled_us += 1
        stored = judgement.ordered(record, scheduled_us)
        self._firings.put(stored)
        self._note(judgement.order_of(record))
        return stored

    def order(self, order: JobOrder) -> bool:
        """Pause or resume a job."""
        changed = judgement.judge_order(order, self._jobs.get((order.app, order.job)))
        if changed is None:
            return False
        self._jobs[order.app, order.job] = changed
        self._note(order)
        return True

    def orders(self, app: str, job: str, *, limit: int, before: int | None) -> list[JobOrder]:
        """Return what was ordered of a job, the latest first."""
        found = [each for each in self._orders if (each.app, each.job) == (app, job)]
        return [each for each in reversed(found) if before is None or each.position < before][:limit]

    def prune(self, app: str, *, before_us: int, limit: int) -> int:
        """Forget old orders."""
        old = [each for each in self._orders if each.app == app and each.at_us < before_us][:limit]
        self._orders = [each for each in self._orders if each not in old]
        return len(old)

    def _note(self, order: JobOrder) -> None:
        last = self._orders[-1].position if self._orders else 0
        self._orders.append(replace(order, action=JobAction(order.action), position=last + 1))
        self._hint()
