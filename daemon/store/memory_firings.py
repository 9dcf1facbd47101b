"""Firings in this process's memory."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from daemon.store.job_model import FiringRecord, FiringState
from daemon.store.memory_runs import Undo
from daemon.store.writes import Outcome, ReleaseFiring, UpdateFiring

_OPEN = frozenset({FiringState.WAITING, FiringState.RUNNING})
_CHANGES = ("state", "attempt", "ended_us", "error", "due_us", "failures")


class MemoryFirings:
    """Firings by job and time. What it hands out are copies, where it does not say otherwise.

    Args:
        hint: Called when somebody may wait for what was written.
    """

    def __init__(self, hint: Callable[[], object]) -> None:
        self._hint = hint
        self._firings: defaultdict[tuple[str, str], dict[int, FiringRecord]] = defaultdict(dict)
        self._going: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def update(self, write: UpdateFiring, undo: Undo = None) -> Outcome | None:
        """Write back how an occurrence went."""
        record = write.record
        firings = self._firings[record.app, record.job]
        before = firings.get(record.scheduled_us)
        if before is None or (before.owner, before.epoch) != (record.owner, record.epoch):
            return Outcome.FENCED
        self.put(replace(before, **{name: getattr(record, name) for name in _CHANGES}))
        if undo is not None:
            undo.append(lambda: self.put(before))
        if write.hint:
            self._hint()
        return None

    def release(self, write: ReleaseFiring, undo: Undo = None) -> Outcome | None:
        """Have an occurrence be nobody's."""
        record = write.record
        before = self.one(record.app, record.job, record.scheduled_us)
        if before is None or (before.owner, before.epoch) != (record.owner, record.epoch):
            return Outcome.FENCED
        self.put(replace(before, owner=""))
        if undo is not None:
            undo.append(lambda: self.put(before))
        self._hint()
        return None

    def put(self, record: FiringRecord) -> None:
        """Keep an occurrence."""
        self._firings[record.app, record.job][record.scheduled_us] = replace(record)
        going = self._going[record.app, record.job]
        if record.state in _OPEN:
            going.add(record.scheduled_us)
        else:
            going.discard(record.scheduled_us)

    def one(self, app: str, job: str, scheduled_us: int) -> FiringRecord | None:
        """Return an occurrence itself."""
        return self._firings[app, job].get(scheduled_us)

    def going(self, app: str, job: str) -> list[FiringRecord]:
        """Return the occurrences themselves that run or wait."""
        firings = self._firings[app, job]
        return [firings[scheduled_us] for scheduled_us in self._going[app, job]]

    def taken(self, app: str, keys: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return those jobs and times of which there is a firing."""
        return {(job, scheduled_us) for job, scheduled_us in keys if scheduled_us in self._firings[app, job]}

    def last(self, app: str, jobs: Sequence[str]) -> dict[str, FiringRecord]:
        """Return the latest firing of each job."""
        return {job: replace(some[max(some)]) for job in jobs if (some := self._firings[app, job])}

    def page(
        self, app: str, job: str, *, limit: int, before_us: int | None, state: FiringState | None
    ) -> list[FiringRecord]:
        """Return a job's firings, latest first."""
        firings = self._firings[app, job]
        times = sorted((each for each in firings if before_us is None or each < before_us), reverse=True)
        found = (firings[scheduled_us] for scheduled_us in times)
        return [replace(each) for each in islice((each for each in found if state in (None, each.state)), limit)]

    def take_over(
        self, app: str, owner: str, jobs: Sequence[str], *, limit: int, is_dead: Callable[[str], bool]
    ) -> list[FiringRecord]:
        """Give open firings of nobody and of the dead to `owner`."""
        free = [each for job in jobs for each in self.going(app, job) if is_dead(each.owner)]
        free.sort(key=attrgetter("scheduled_us"))
        claimed = [
            replace(
                each,
                owner=owner,
                attempt=each.attempt + (each.state is FiringState.RUNNING and each.due_us is None),
                epoch=each.epoch + bool(each.owner),
            )
            for each in free[:limit]
        ]
        for each in claimed:
            self.put(each)
        return claimed

    def prune(self, app: str, *, before_us: int, limit: int) -> int:
        """Forget old firings, but never the latest of a job."""
        old = [
            (firings, each.scheduled_us)
            for (of_app, job), firings in self._firings.items()
            if of_app == app and firings
            for latest in [max(firings)]
            for each in firings.values()
            if each.scheduled_us < latest
            and each.state not in _OPEN
            and (each.started_us if each.ended_us is None else each.ended_us) < before_us
        ]
        for firings, scheduled_us in old[:limit]:
            del firings[scheduled_us]
        return len(old[:limit])
