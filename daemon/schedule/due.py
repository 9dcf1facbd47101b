"""Claims what is due: many firings in one transaction of the store.

    lanes that are due --> claims --> one `claim_due` --> what runs or waits: a `Firing` in a task of its own
                                                     +--> what does not: a line of the log

What is not known to be claimed stays due: lanes go back to where they were, and are looked at again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.clock import from_us
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.schedule.claim import Surroundings, claim_of, missed_claim_of
from daemon.schedule.firing import tell_skipped
from daemon.schedule.lane import Lane, Passed
from daemon.store.job_model import Claimed, ClaimOutcome, FiringClaim, FiringRecord, Overlap

_BATCH = 1_000
_STARTED = frozenset({ClaimOutcome.RUNNING, ClaimOutcome.WAITING})
_log = get_logger(__name__)


@dataclass(slots=True)
class _Wanted:
    """A claim, and where its lane stood before."""

    lane: Lane
    since: datetime
    claim: FiringClaim


class Claimer:
    """Has firings claimed, in the order in which they came due, and one batch after the other.

    Args:
        started: Called with each that this process has to run, and its overlap policy.
        rests: Called with a lane that fires nothing any more: it is over, or superseded.
        failed: Called with lanes of which not everything is known to be claimed; they are where they were.
    """

    def __init__(
        self,
        around: Surroundings,
        *,
        started: Callable[[Lane, FiringRecord, Overlap], object],
        rests: Callable[[Lane], object],
        failed: Callable[[Lane], object],
    ) -> None:
        self._around = around
        self._started = started
        self._rests = rests
        self._failed = failed
        self._wanted: list[_Wanted] = []
        self._then: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, lane: Lane, passed: Passed) -> None:
        """Have firing times dealt with that have come; the claims are handed in after this turn of the loop."""
        claims = [missed_claim_of(lane, tick, self._around) for tick in passed.missed]
        is_queued = len(passed.due) > 1
        claims += [claim_of(lane, tick, self._around, queued=is_queued) for tick in passed.due]
        self._wanted += [_Wanted(lane, passed.since, claim) for claim in claims]
        if self._wanted and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def then(self, work: Callable[[], object]) -> None:
        """Call a function once what was added is claimed, and begun, or has failed; at least in the next turn."""
        self._then.append(work)
        if self._task is None:
            self._go_on()

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        then, self._then = self._then, []
        for work in then:
            loop.call_soon(work)

    async def settle(self) -> None:
        """Return once everything that was added is claimed, or has failed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._wanted:
                await self._claim(self._wanted[:_BATCH])
                self._go_on()
        finally:
            self._task = None
            self._go_on()

    async def _claim(self, batch: Sequence[_Wanted]) -> None:
        try:
            answers = await self._ask(batch)
        except StoreUnavailableError as error:
            _log.debug("scheduler_waits", error=str(error))
            self._give_back(self._wanted)  # Those behind are not tried either, since they come after.
            return
        except Exception:  # noqa: BLE001 - what is at fault must not stop the others
            if len(batch) == 1:
                _log.exception("job_not_fired", job=batch[0].lane.job.name)
                del self._wanted[:1]
                return
            for each in batch:
                if self._wanted[:1] == [each]:  # else the store went away meanwhile
                    await self._claim([each])
            return
        del self._wanted[: len(batch)]
        for wanted, answer in zip(batch, answers, strict=True):
            await self._follow(wanted, answer)

    async def _ask(self, batch: Sequence[_Wanted]) -> Sequence[Claimed]:
        around = self._around
        claims = [each.claim for each in batch]
        return await around.store.claim_due(around.app, claims, now_us=around.clock.now_us())

    def _give_back(self, wanted: list[_Wanted]) -> None:
        """Have lanes be where they were before the first claim of each that failed."""
        lanes = {id(each.lane): each for each in reversed(wanted)}
        wanted.clear()
        for each in lanes.values():
            if each.lane.seen > each.since:
                each.lane.go_to(each.since, each.lane.job)
            self._failed(each.lane)

    async def _follow(self, wanted: _Wanted, answer: Claimed) -> None:
        lane, record = wanted.lane, answer.record
        if answer.outcome in _STARTED and record is not None:
            self._started(lane, record, wanted.claim.overlap)
        elif answer.outcome in (ClaimOutcome.OVER, ClaimOutcome.SUPERSEDED):
            lane.is_over = lane.is_over or answer.outcome is ClaimOutcome.OVER
            lane.is_superseded = lane.is_superseded or answer.outcome is ClaimOutcome.SUPERSEDED
            self._rests(lane)
        elif answer.outcome is ClaimOutcome.MISSED and record is not None:
            scheduled_for = from_us(record.scheduled_us).isoformat()
            _log.warning("job_missed", job=record.job, scheduled_for=scheduled_for, reason=record.error)
        elif record is not None:
            await tell_skipped(record, self._around)
