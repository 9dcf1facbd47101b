"""Runs that this process cannot drive: it gives them back, and says so of those that nobody takes."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from daemon.engine.execution import log
from daemon.engine.ports import Ports
from daemon.errors import StoreUnavailableError
from daemon.store.model import HELD, QUEUED, RunRecord, RunStatus
from daemon.store.writes import GiveBack, Outcome, UpdateRun

GRACE_S = 6.0
"""Whoever lives looks at every run of nobody three times in this time, in seconds: it is that of a lease."""
_DECLINED_MAX = 100_000
_SHOWN_MAX = 10


@dataclass(slots=True)
class _Declined:
    """A run that this process has given back.

    Attributes:
        record: As it is stored now, if nobody has taken it since.
        words: What is missing.
        due_us: When to say so; None: that was done.
        again_us: When it may be looked at once more, since its time is over then, and it has to be undone.
    """

    record: RunRecord
    words: str
    due_us: int | None
    again_us: int | None


class Holding:
    """Gives back what this process has claimed and cannot drive, and remembers it.

    A run that was started with another graph than its workflow has now may need what only other processes have, or
    what no process has any more. What becomes of it, with its owner and its epoch (see `RunRecord`):

        owned by P, epoch e+1    P has claimed it, and lacks something: it writes nothing but that it gives it back
             |
             v
        nobody's, epoch e        as it was before. P does not claim it again at this epoch; everybody else may
             |         |
             |         `-------> owned by Q, epoch e+1: Q has everything, and drives it; or gives it back in its turn
             v
        held, nobody's, epoch e  nobody took it within `GRACE_S`: P has written why, in `waiting_for`. A run that was
             |                   running is `waiting`; one that rolls back stays `compensating`, and one that waits for
             |                   a place goes on to, since it takes nobody's.
             v
        owned by Q, epoch e+1    whoever comes up later with what it needs goes on with it, as with any run of nobody

    Why that is sound. A run is always owned by one that lives and can drive it, or it may be claimed by everybody who
    has not tried: it is never lost. The epoch goes down to what it was, so that a process which has tried tries again
    once anybody has driven the run since, and never else: two that cannot do not pass it on for ever. Nothing is
    written between the claim and the giving back, and a later owner's claim raises the epoch again, so that no
    (owner, epoch) ever stands for two executions that write. That a run is held is said only after everybody who
    lives had the time to take it; a process that is late may take it all the same.

    A process forgets what it has declined when that is to be cancelled, or when its time is over: then it needs less,
    namely what undoes it.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._declined: OrderedDict[str, _Declined] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._declined

    @property
    def declined(self) -> Mapping[str, int]:
        """What not to claim: keys of runs of nobody, each with the epoch at which it cannot be driven here."""
        return {key: each.record.epoch for key, each in self._declined.items()}

    async def decline(self, record: RunRecord, what: list[str]) -> None:
        """Give back a run of this process that nothing was written of since it was claimed."""
        before = replace(record, owner="", epoch=record.epoch - 1)
        try:
            if await self._ports.store.commit(GiveBack(record)) is not Outcome.APPLIED:
                return  # somebody else has it already
        except StoreUnavailableError:
            return  # this process is about to end, and its lease with it
        now_us, deadline_us = self._ports.clock.now_us(), record.deadline_us
        again_us = deadline_us if deadline_us is not None and deadline_us > now_us else None
        due_us = now_us + round(GRACE_S * 1_000_000)
        self._declined[record.key] = _Declined(before, HELD + _told(what), due_us, again_us)
        self._declined.move_to_end(record.key)
        if len(self._declined) > _DECLINED_MAX:
            self._declined.popitem(last=False)

    async def review(self) -> None:
        """Say of what was declined and not taken that it is held; forget what may be driven here after all."""
        if not self._declined:
            return
        for record in await self._ports.store.cancellations(self._ports.app, ""):
            declined = self._declined.get(record.key)
            if declined is not None and declined.record.cancel_us is None:
                del self._declined[record.key]
        now_us = self._ports.clock.now_us()
        for key, each in list(self._declined.items()):
            if each.again_us is not None and each.again_us <= now_us:
                del self._declined[key]
            elif each.due_us is not None and each.due_us <= now_us:
                each.due_us = None
                if not await self._hold(each.record, each.words):
                    self._declined.pop(key, None)

    async def _hold(self, record: RunRecord, words: str) -> bool:
        """Write why a run is held, and log it; False if somebody has taken it meanwhile."""
        if record.waiting_for != QUEUED:
            if record.status is RunStatus.RUNNING:
                record.become(RunStatus.WAITING)
            record.waiting_for, record.wake_us = words, None
            record.updated_us = self._ports.clock.now_us()
            if await self._ports.store.commit(UpdateRun(record)) is not Outcome.APPLIED:
                return False
        log.info("run_held", run_id=record.run_id, workflow=record.workflow, reason=words.removeprefix(HELD))
        return True


def _told(what: list[str]) -> str:
    more = len(what) - _SHOWN_MAX
    return "; ".join(what[:_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
