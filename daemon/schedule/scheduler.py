"""Fires jobs: on time, once in the fleet, and what was missed by its policy.

    alarm --> firing times since the last look --> claimed in the store --> `Firing`, in a task of its own
                                              +-> recorded as missed

Invariants:
* Alarms only wake. For each job it is kept until when its firing times are dealt with; whatever woke us, those between
  then and now are dealt with, so neither a late alarm nor a needless one loses or repeats a firing.
* A firing that is known is claimed, also one that has to wait: what a crash leaves behind is in the store, as a firing
  whose owner is dead or as firing times after the last claim.
* Nothing here waits for a handler, and what one job's firings do is caught in their own tasks.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import svcs

from daemon.clock import Clock, from_us
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.schedule.alarms import alarms_for
from daemon.schedule.backlog import latest_ticks, sort_out
from daemon.schedule.claim import Surroundings, new_record, record_missed
from daemon.schedule.firing import Firing
from daemon.schedule.job import Job
from daemon.schedule.lane import Lane, firings_left
from daemon.store.model import FiringState
from daemon.store.port import Store
from daemon.store.writes import ClaimFiring, Outcome

_GRACE = timedelta(seconds=30)  # a busy loop is late; a machine that slept has missed
_NO_GRACE = timedelta(0)
_BACKLOG_MAX = 1_000  # missed firings of one job that are looked at
_OPEN_MAX = 1_000  # firings of one job that run or wait at one time
_TAKEN_MAX = 1_000  # firings that are taken over at one look
_SET_BACK = timedelta(seconds=1)  # less is an adjustment of the clock
_log = get_logger(__name__)


class Scheduler:
    """Fires jobs; every daemon of an application has one, and each firing happens in one of them.

    Args:
        jobs: What to fire, as the configuration changes it.
        store: Open; `owner` holds a lease in it for as long as this works.
        app: The application's name.
        owner: This process.
        containers: Makes a handler's container.
        options: Returns the table `[options.<job name>]` of config.toml.
        on_staged: Called when a handler's events were staged for the outbox.
        look_s: How often to look for clocks that jumped and firings whose process died, in seconds.
        max_payload_bytes: The largest payload of an event.
        chance: Random numbers from 0 to 1, for the jitter of retries.
    """

    def __init__(
        self,
        jobs: Iterable[Job[Any]],
        *,
        store: Store,
        clock: Clock,
        app: str,
        owner: str,
        containers: Callable[[], svcs.Container],
        options: Callable[[str], Mapping[str, Any]],
        on_staged: Callable[[], object],
        look_s: float = 5.0,
        max_payload_bytes: int = 1_048_576,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._around = Surroundings(
            app=app,
            owner=owner,
            store=store,
            clock=clock,
            container=containers,
            options=options,
            on_staged=on_staged,
            stopping=lambda: not self.running,
            max_payload_bytes=max_payload_bytes,
            chance=chance,
        )
        self._store, self._clock, self._look_s = store, clock, look_s
        self._alarms = alarms_for(clock)
        self._lanes: dict[str, Lane] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._firings: set[Firing] = set()
        self._held: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self.running = False

    @property
    def in_flight(self) -> int:
        """How many firings run or wait here."""
        return len(self._firings)

    def next_firing(self, job: str) -> datetime | None:
        """Return when a job is due next, without jitter; None if it is not known, or over."""
        lane = self._lanes.get(job)
        return None if lane is None or lane.left == 0 else lane.due

    # --- life ---

    async def start(self) -> None:
        """Catch up, take over what dead processes left, and begin to fire.

        Raises:
            StoreUnavailableError: The store cannot be read.
        """
        for job in self._jobs.values():
            last = await self._store.firings(self._around.app, job.name, limit=1)
            now = self._clock.now()
            seen = min(from_us(last[0].scheduled_us), now) if last else now
            self._lanes[job.name] = Lane(job, seen, await self._left(job), self._turn(job.name))
        await self._take_over()
        self.running = True
        now = self._clock.now()
        for name, lane in self._lanes.items():
            self._deal(lane, now, _NO_GRACE)
            self._alarms.set(name, lane.job.schedule)
        self._alarms.start(self._ring)
        for name in self._lanes:
            self._ring(name)  # What came due before its alarm was set.
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def replace(self, jobs: Iterable[Job[Any]]) -> None:
        """Go on with these jobs: their schedules and options count from now, and what was fired goes on as it began.

        A job that is new here does not catch up.

        Raises:
            StoreUnavailableError: The store cannot be used; nothing is changed.
        """
        if self._store.trouble:
            raise StoreUnavailableError(f"The jobs stay as they are: {self._store.trouble}")
        wanted = {job.name: (job, await self._left(job)) for job in jobs}
        now = self._clock.now()
        for name, lane in list(self._lanes.items()):
            self._deal(lane, now, _GRACE)  # As the former schedule has it.
            if name not in wanted:
                self._alarms.remove(name)
                del self._lanes[name]
        for name, (job, left) in wanted.items():
            lane = self._lanes.setdefault(name, Lane(job, now, left, self._turn(name)))
            lane.go_to(now, job, lane.left if lane.job.schedule.max_runs == job.schedule.max_runs else left)
            self._alarms.set(name, job.schedule)

    async def quiesce(self) -> None:
        """Fire nothing more. What waits for its delay, its turn or a retry stays in the store for the next start."""
        self.running = False
        self._alarms.stop()
        if self._watching is not None:
            self._watching.cancel()
        for firing in self._firings:
            if firing.waiting:
                firing.task.cancel()

    async def drain(self, grace_s: float | None = None) -> None:
        """Fire nothing more, and return when no handler runs; what runs after `grace_s` seconds is cancelled."""
        await self.quiesce()
        timer = None if grace_s is None else self._clock.call_later(grace_s, self._cancel)
        try:
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            if timer is not None:
                timer.cancel()

    async def aclose(self) -> None:
        """Cancel what runs, and return when that has ended; its firings are picked up again once our lease is over."""
        await self.quiesce()
        self._cancel()
        await self.drain()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _turn(self, name: str) -> asyncio.Lock:
        # The same one also after the job was away for a while: a firing may still go on.
        return self._turns.setdefault(name, asyncio.Lock())

    def _left(self, job: Job[Any]) -> Awaitable[int | None]:
        return firings_left(self._store, self._around.app, job)

    # --- what is due ---

    def _ring(self, name: str) -> None:
        lane = self._lanes.get(name)
        if lane is not None and self.running:
            try:
                self._deal(lane, self._clock.now(), _GRACE)
            except Exception:  # noqa: BLE001 - the alarms of other jobs must not suffer
                _log.exception("job_not_fired", job=name)

    def _deal(self, lane: Lane, now: datetime, grace: timedelta) -> None:
        """Fire or record every firing time between `lane.seen` and now."""
        since, due = lane.seen, lane.due
        if due is None or due > now:
            return
        if lane.left == 0:
            self._alarms.remove(lane.job.name)
        elif self._store.trouble:
            self._held.add(lane.job.name)  # It stays due; claims that cannot be written must not pile up.
        elif lane.go_on(now) and now - due <= grace:
            self._fire(lane, due, queued=False)
        else:
            self._catch_up(lane, since, now, grace)

    def _catch_up(self, lane: Lane, since: datetime, now: datetime, grace: timedelta) -> None:
        job = lane.job
        ticks, is_all = latest_ticks(job.schedule, after=since, until=now, limit=_BACKLOG_MAX)
        if not is_all:
            reason = f"more than {len(ticks):,} were missed; these are too long ago to be recorded one by one"
            _log.warning("job_missed", job=job.name, since=since.isoformat(), until=ticks[0].isoformat(), reason=reason)
        due, missed = sort_out(job.schedule, ticks, now=now, grace=grace)
        if missed:
            self._spawn(record_missed(job, missed, self._around))
        for tick in due:
            self._fire(lane, tick, queued=len(due) > 1)

    # --- firings ---

    def _fire(self, lane: Lane, tick: datetime, *, queued: bool) -> None:
        """Claim a firing and start its task."""
        if lane.left == 0:
            return
        if lane.left is not None:
            lane.left -= 1
        job = lane.job
        record = new_record(job, tick, FiringState.RUNNING, self._around)
        may_wait = queued or job.schedule.jitter or (lane.turn.locked() and job.schedule.overlap != "allow")
        record.attempt = 0 if may_wait else 1
        claim = self._store.commit(ClaimFiring(record))
        self._open(lane, Firing(job, record, self._around, lane.turn), claim, queued=queued)

    def _open(self, lane: Lane, firing: Firing, claim: Awaitable[Outcome] | None, *, queued: bool) -> None:
        lane.opened += 1
        self._firings.add(firing)
        firing.task = self._spawn(self._conduct(lane, firing, claim, queued=queued))

    async def _conduct(self, lane: Lane, firing: Firing, claim: Awaitable[Outcome] | None, *, queued: bool) -> None:
        try:
            if claim is None:
                await firing.resume()
            elif await claim is not Outcome.APPLIED:
                if lane.left is not None:  # Another daemon fires it.
                    lane.left = await self._left(lane.job)
            elif lane.opened > _OPEN_MAX:
                await firing.skip(f"{_OPEN_MAX:,} firings of this job run or wait already")
            elif not await firing.run(queued=queued) and lane.left is not None:
                lane.left += 1  # It was skipped, and does not count.
        except Exception:  # noqa: BLE001 - the store's, or ours; the handler's are its firing's failure
            _log.exception("job_not_fired", job=lane.job.name, scheduled_for=firing.scheduled_for.isoformat())
        finally:
            lane.opened -= 1
            self._firings.discard(firing)

    # --- what alarms do not notice ---

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._look_s)
            try:
                self._heed_clock()
                while self._held and not self._store.trouble:
                    self._ring(self._held.pop())
                await self._take_over()
            except StoreUnavailableError as error:
                _log.debug("scheduler_waits", error=str(error))
            except Exception:  # noqa: BLE001 - the next look may do better
                _log.exception("scheduler_look_failed")

    def _heed_clock(self) -> None:
        """Have alarms look at the wall clock, and set those again whose times come once more."""
        now = self._clock.now()
        limit = now + _SET_BACK
        for name, lane in self._lanes.items():
            if lane.seen > limit:  # What was fired before is claimed, and not fired again.
                lane.go_to(now, lane.job, lane.left)
                self._alarms.set(name, lane.job.schedule)
        self._alarms.look()

    async def _take_over(self) -> None:
        """Pick up firings whose process died."""
        lanes = dict(self._lanes)
        for record in await self._store.claim_firings(self._around.app, self._around.owner, [*lanes], limit=_TAKEN_MAX):
            lane = lanes[record.job]
            self._open(lane, Firing(lane.job, record, self._around, lane.turn), None, queued=True)
