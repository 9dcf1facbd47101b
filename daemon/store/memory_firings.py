"""Firings in this process's memory."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter

from daemon.store.memory_runs import Undo
from daemon.store.model import FiringRecord, FiringState
from daemon.store.writes import ClaimFiring, Outcome, UpdateFiring


class MemoryFirings:
    """Firings by job and time. What it hands out are copies."""

    def __init__(self) -> None:
        self._firings: defaultdict[tuple[str, str], dict[int, FiringRecord]] = defaultdict(dict)

    def claim(self, write: ClaimFiring, undo: Undo = None) -> Outcome | None:
        """Claim one occurrence of a job."""
        record = write.record
        firings = self._firings[record.app, record.job]
        if record.scheduled_us in firings:
            return Outcome.CONFLICT
        firings[record.scheduled_us] = replace(record)
        if undo is not None:
            undo.append(lambda: firings.pop(record.scheduled_us))
        return None

    def update(self, write: UpdateFiring, undo: Undo = None) -> Outcome | None:
        """Write back how an occurrence went."""
        record = write.record
        firings = self._firings[record.app, record.job]
        before = firings.get(record.scheduled_us)
        if before is None or before.owner != record.owner:
            return Outcome.FENCED
        firings[record.scheduled_us] = replace(record)
        if undo is not None:
            undo.append(lambda: firings.update({record.scheduled_us: before}))
        return None

    def page(self, app: str, job: str, *, limit: int, before_us: int | None) -> list[FiringRecord]:
        """Return a job's firings, latest first."""
        firings = self._firings[app, job]
        times = sorted((each for each in firings if before_us is None or each < before_us), reverse=True)
        return [replace(firings[scheduled_us]) for scheduled_us in times[:limit]]

    def take_over(
        self, app: str, owner: str, jobs: Sequence[str], *, limit: int, is_dead: Callable[[str], bool]
    ) -> list[FiringRecord]:
        """Give running firings of the dead to `owner`."""
        running = [
            each
            for job in jobs
            for each in self._firings[app, job].values()
            if each.state is FiringState.RUNNING and is_dead(each.owner)
        ]
        running.sort(key=attrgetter("scheduled_us"))
        claimed = [replace(each, owner=owner, attempt=each.attempt + 1) for each in running[:limit]]
        for each in claimed:
            self._firings[app, each.job][each.scheduled_us] = replace(each)
        return claimed

    def prune(self, app: str, *, before_us: int, without: Sequence[str], limit: int) -> int:
        """Forget old firings, but never the latest of a job, and none of the jobs in `without`."""
        old = [
            (firings, each.scheduled_us)
            for (of_app, job), firings in self._firings.items()
            if of_app == app and firings and job not in without
            for latest in [max(firings)]
            for each in firings.values()
            if each.scheduled_us < latest
            and each.state is not FiringState.RUNNING
            and (each.started_us if each.ended_us is None else each.ended_us) < before_us
        ]
        for firings, scheduled_us in old[:limit]:
            del firings[scheduled_us]
        return len(old[:limit])
