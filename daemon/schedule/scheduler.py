"""Fires jobs: on time, once in the fleet, and what was missed by its policy.

    alarm --> firing times since the last look --> claimed in the store (`due`) --> `Firing`, in a task of its own
                                                                       +-> recorded as skipped or missed

Invariants:
* Alarms only wake. For each job it is kept until when its firing times are dealt with; whatever woke us, those between
  then and now are dealt with, so neither a late alarm nor a needless one loses or repeats a firing.
* What is dealt with is so in the store, by the whole fleet: a start goes on where anybody was last.
* A firing that is known is claimed, also one that has to wait: what a crash leaves behind is in the store, as a firing
  whose owner is dead or as firing times after the last claim.
* Of two that have a job differently, one fires it, as the store says (`JobStore.declare_jobs`); the other rests.
* Nothing here waits for a handler, and what one job's firings do is caught in their own tasks.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from daemon.clock import from_us
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.schedule.alarms import alarms_for
from daemon.schedule.claim import Surroundings
from daemon.schedule.deployment import Deployment, mark
from daemon.schedule.due import Claimer
from daemon.schedule.job import Job
from daemon.schedule.lane import Lane, Lanes
from daemon.schedule.underway import Underway
from daemon.schedule.watch import Watch

_GRACE = timedelta(seconds=30)  # a busy loop is late; a machine that slept has missed
_NO_GRACE = timedelta(0)
_AGAIN_S = 1.0  # after the store could not be asked
_SET_BACK = timedelta(seconds=1)  # less is an adjustment of the clock
_log = get_logger(__name__)


class Scheduler:
    """Fires jobs; every daemon of an application has one, and each firing happens in one of them.

    Args:
        jobs: What to fire, as the configuration changes it.
        around: What firings work with; the store is open, and this process has a lease in it for as long as this works.
        dropped: The names of jobs that the configuration turns off.
        look_s: How often to look for clocks that jumped and firings whose process died, in seconds.
    """

    def __init__(
        self, jobs: Iterable[Job[Any]], around: Surroundings, *, dropped: Collection[str] = (), look_s: float = 5.0
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._dropped = dropped
        self._around = replace(around, stopping=lambda: not self.running)
        self._store, self._clock = around.store, around.clock
        self._deployment = Deployment(self._around)
        self._alarms = alarms_for(self._clock)
        self._underway = Underway(self._around)
        self._claimer = Claimer(self._around, started=self._underway.begin, rests=self._rest, failed=self._hold)
        self._watch = Watch(self._clock, self._look, look_s=look_s, news=self._take_over)
        self._lanes = Lanes()
        self._held: set[str] = set()
        self._is_changing = False
        self._unhint: Callable[[], None] | None = None
        self.running = False

    @property
    def in_flight(self) -> int:
        """How many firings run or wait here."""
        return len(self._underway)

    def next_firing(self, job: str) -> datetime | None:
        """Return when a job is due next, without jitter; None if it is not known here, or over."""
        lane = self._lanes.get(job)
        return None if lane is None or lane.rests else lane.due

    # --- life ---

    async def start(self) -> None:
        """Catch up, take over what dead processes left, and begin to fire.

        Raises:
            StoreUnavailableError: The store cannot be used.
        """
        now = self._clock.now()
        known = await self._deployment.declare(self._jobs.values(), self._dropped, now)
        for name, job in self._jobs.items():
            self._lanes[name] = Lane(job, min(from_us(known[name].dealt_us), now))
            mark(self._lanes[name], known[name])
        self.running = True
        await self._take_over()
        now = self._clock.now()
        for lane in self._lanes.values():
            self._deal(lane, now, _NO_GRACE)
        self._set_alarms(self._lanes.values())
        self._alarms.start(self._ring)
        self._unhint = self._store.on_hint(self._watch.hint)
        self._watch.start()

    async def replace(self, jobs: Iterable[Job[Any]], dropped: Collection[str] = ()) -> None:
        """Go on with these jobs: their schedules and options count from now, and what was fired goes on as it began.

        A job that is new here does not catch up; nor does one again that was turned off.

        Raises:
            StoreUnavailableError: The store cannot be used; nothing is changed.
        """
        if self._store.trouble:
            raise StoreUnavailableError(f"The jobs stay as they are: {self._store.trouble}")
        wanted = {job.name: job for job in jobs}
        self._is_changing = True  # What comes due meanwhile comes due for the new ones.
        try:
            now = self._clock.now()
            for lane in self._lanes.values():
                self._deal(lane, now, _GRACE)  # As the former schedule has it.
            await self._claimer.settle()
            self._require_claimed()
            gone = self._lanes.keys() - wanted.keys()
            known = await self._deployment.declare(wanted.values(), {*dropped, *gone}, now)
        except BaseException:
            self._is_changing = False
            self._set_alarms(self._lanes.values())
            raise
        self._is_changing = False
        self._dropped = dropped
        self._alarms.set((name, None) for name in gone)
        was, self._lanes = self._lanes, Lanes()
        for name, job in wanted.items():
            lane = self._lanes[name] = was.get(name) or Lane(job, now)
            lane.is_over = False
            lane.go_to(now, job)
            mark(lane, known[name])
        self._jobs = wanted
        self._set_alarms(self._lanes.values())

    def _require_claimed(self) -> None:
        if self._held:
            raise StoreUnavailableError("The jobs stay as they are: what is due could not be claimed.")

    async def quiesce(self) -> None:
        """Fire nothing more. What waits for its delay, its turn or a retry is left to whoever goes on."""
        self.running = False
        self._alarms.stop()
        self._watch.stop()
        if self._unhint is not None:
            self._unhint()
            self._unhint = None
        self._underway.leave()

    async def drain(self, grace_s: float | None = None) -> None:
        """Fire nothing more, and return when no handler runs; what runs after `grace_s` seconds is cancelled."""
        await self.quiesce()
        timer = None if grace_s is None else self._clock.call_later(grace_s, self._underway.cancel)
        try:
            await self._claimer.settle()
            await self._underway.ended()
        finally:
            if timer is not None:
                timer.cancel()

    async def aclose(self) -> None:
        """Cancel what runs, and return when that has ended; its firings are picked up again by whoever goes on."""
        await self.quiesce()
        self._underway.cancel()
        await self.drain()

    # --- whose definition counts ---

    async def _revise(self) -> None:
        """Look whether those that rest may go on."""
        if resting := self._lanes.resting:
            revived = await self._deployment.revive(resting)
            self._lanes.changed()
            self._ring([lane.job.name for lane in revived if self._lanes.get(lane.job.name) is lane])

    def _rest(self, lane: Lane) -> None:
        """Have a job that the store does not let us fire be silent, and look why."""
        self._lanes.changed()
        self._alarms.set([(lane.job.name, None)])
        if lane.is_superseded and not lane.is_told:
            self._watch.look_soon()

    # --- what is due ---

    def _ring(self, names: Sequence[str]) -> None:
        if not self.running or self._is_changing:
            return
        now = self._clock.now()
        lanes = [lane for name in names if (lane := self._lanes.get(name)) is not None]
        for lane in lanes:
            try:
                self._deal(lane, now, _GRACE)
            except Exception:  # noqa: BLE001 - the alarms of other jobs must not suffer
                _log.exception("job_not_fired", job=lane.job.name)
        # Once these have begun: to find the next times of many takes a while.
        self._claimer.then(lambda: self._set_alarms(lanes))

    def _deal(self, lane: Lane, now: datetime, grace: timedelta) -> None:
        """Have every firing time between `lane.seen` and now claimed, or recorded as missed."""
        if lane.rests or lane.due is None or lane.due > now:
            return
        if self._store.trouble or not self._around.is_leased():
            self._hold(lane)  # It stays due; claims that cannot be written must not pile up.
            return
        passed = lane.take(now, grace)
        if passed is None:
            return
        if passed.left_out:
            first = (*passed.missed, *passed.due)[0]
            count = len(passed.missed) + len(passed.due)
            reason = f"more than {count:,} were missed; these are too long ago to be recorded one by one"
            since, until = passed.since.isoformat(), first.isoformat()
            _log.warning("job_missed", job=lane.job.name, since=since, until=until, reason=reason)
        self._claimer.add(lane, passed)

    def _set_alarms(self, lanes: Iterable[Lane]) -> None:
        if not self.running or self._is_changing:
            return
        times: list[tuple[str, datetime | None]] = []
        for lane in lanes:
            name = lane.job.name
            if lane.due is None:
                lane.advance()
            if name not in self._held and self._lanes.get(name) is lane:
                times.append((name, None if lane.rests else lane.due))
        self._alarms.set(times)

    def _hold(self, lane: Lane) -> None:
        """Have a job whose firings could not be claimed be looked at again."""
        if not self._held and self.running:
            self._clock.call_later(_AGAIN_S, self._watch.look_soon)
        self._held.add(lane.job.name)

    # --- what alarms do not notice ---

    async def _take_over(self) -> None:
        await self._underway.take_over(self._lanes.fired)

    async def confirm(self) -> None:
        """Cancel the handlers of firings that others have taken over while this process's lease was over."""
        await self._underway.confirm()

    async def _look(self) -> None:
        self._heed_clock()
        if self._held and not self._store.trouble:
            held, self._held = self._held, set()
            self._ring([*held])
        await self._revise()
        await self._take_over()

    def _heed_clock(self) -> None:
        """Have alarms look at the wall clock, and set those again whose times come once more."""
        now = self._clock.now()
        limit = now + _SET_BACK
        lanes = [lane for lane in self._lanes.values() if lane.seen > limit]
        for lane in lanes:  # What was fired before is claimed, and not fired again.
            lane.go_to(now, lane.job)
        if lanes:
            self._set_alarms(lanes)
        self._alarms.look()
