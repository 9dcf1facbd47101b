"""Drives runs, each by a task; lets go of those that wait for long, and takes them up again when they are due."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Required, TypedDict, Unpack

import svcs

from daemon.engine.control import Fenced, Forestalled, Stop
from daemon.engine.drive import drive
from daemon.engine.ending import interrupted, log_end
from daemon.engine.execution import Execution, log
from daemon.engine.holding import Holding
from daemon.engine.in_place import begin_in_place
from daemon.engine.parking import Parking, Waiter
from daemon.engine.places import Places
from daemon.engine.ports import Ports
from daemon.engine.reading import RunReader
from daemon.engine.readying import Lacking, Readying
from daemon.engine.strays import Strays, is_away
from daemon.store.model import QUEUED, RunRecord, RunStatus, is_held

_CANCEL_S = 5.0
Containers = Callable[[], AbstractAsyncContextManager[svcs.Container]]


class Surroundings(TypedDict, total=False):
    """What an engine is given besides its ports; see `RunDriver`."""

    containers: Required[Containers]
    options: Callable[[str], Mapping[str, Any]]
    on_staged: Callable[[], object]


class RunDriver(RunReader):
    """Drives the runs that this process owns.

        started or resumed --> live (a task) --> ended
                                 |      ^
                                 v      |
                                parked (a timer, or nothing at all)

    Args:
        ports: The store, the clock, and who this process is.
        containers: Opens the services of one run: a run may outlive whoever started it.
        options: The table `[options.<workflow>]` by workflow name.
        on_staged: Called after events may have been staged for publication.

    Attributes:
        holding: The runs that this process has given back; for machinery.
        strays: Its runs that it has lost sight of; for machinery.
    """

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports)
        self._containers = around["containers"]
        self._options = around.get("options", _no_options)
        self._on_staged = around.get("on_staged", _nothing)
        self._readying = Readying(ports, self._options)
        self.holding = Holding(ports)
        self.strays = Strays(ports, is_here=self._is_here, resume=self._resume)
        self._parking = Parking(ports.clock, wake=self._resume, go_on=self._go_on)
        self._places = Places(ports, self._workflows, go_on=self._go_on, lose=self._lose)
        self._resuming: dict[str, RunRecord] = {}
        self._cancelled: set[str] = set()  # those among them that somebody cancels meanwhile
        self._regained: dict[str, RunRecord] = {}  # lost, and got back while they are still driven as they were
        self._nudged: set[str] = set()  # those that are driven while something comes that they wait for
        self._heard = 0
        self._closing = False

    @property
    def running(self) -> int:
        """How many runs this process drives at the moment."""
        return len(self._live)

    async def heed(self, *, everything: bool = True) -> None:
        """Take up what came from outside for the runs of this process.

        Args:
            everything: Look also for what a lost hint may have told of.
        """
        store, app, owner = self._ports.store, self._ports.app, self._ports.owner
        if everything and not self._closing:
            await self.strays.gather()
        for record in await store.cancellations(app, owner):
            await self._cancel_here(record)
        if self._parking.count or self._live:
            signalled, self._heard = await store.signalled(app, owner, after=0 if everything else self._heard)
            for record in signalled:
                await self._signal_here(record)
            self._places.fill()

    async def resume(self, owned: Iterable[RunRecord]) -> None:
        """Go on with runs that this process has just claimed; those that wait are woken when they are due.

        What it does not have everything for it gives back.
        """
        for record in owned:
            told = {"run_id": record.run_id, "workflow": record.workflow, "status": record.status.value}
            await self._resume(record)
            if record.key not in self.holding:
                log.info("run_resumed", **told)

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish for `grace_s` seconds, then cancel it; cancelled runs stay resumable.

        Runs may start until the time is up, since those that run may need them; then none does.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + grace_s
        while self._live and loop.time() < until_s:
            await asyncio.wait(self._tasks(), timeout=until_s - loop.time())
        self._closing = True
        for run in list(self._live.values()):
            self._stop(run)
        if self._live:
            _, stubborn = await asyncio.wait(self._tasks(), timeout=_CANCEL_S)
            for task in stubborn:
                log.warning("run_not_cancelled", task=task.get_name())
        self._places.close()
        self._parking.close(interrupted)
        self._ports.news.close()

    def _launch(self, run: Execution) -> Execution:
        run_id = run.record.run_id
        self._live[run_id] = run
        run.waiters.extend(self._parking.take(run_id))
        run.task = asyncio.create_task(self._drive(run), name=f"run {run_id}")
        return run

    def _launch_in_place(self, run: Execution, waiter: Waiter) -> None:
        """Drive a run of a fresh id at once, up to where it has to wait if it does; from there on a task drives it.

        Until then it is in its starter's: nothing of the application that is called may ask which one it is in.
        """
        self._live[run.record.run_id] = run
        run.waiters.append(waiter)
        context = copy_context()
        try:
            rest = begin_in_place(self._drive(run), context)
        except asyncio.CancelledError:
            return  # its own: the waiter knows
        if rest is not None:
            run.task = asyncio.create_task(rest, name=f"run {run.record.run_id}", context=context)

    def _stop(self, run: Execution) -> None:
        """Cancel a run's task; a run whose task was cancelled before it began is settled, too."""

        def settle(_: object) -> None:
            if self._live.get(run.record.run_id) is run:
                self._settle(run, None)

        if run.task is not None:
            run.task.add_done_callback(settle)
        run.halt(Stop.SHUTDOWN)

    async def _drive(self, run: Execution) -> None:
        failure: BaseException | None = None
        try:
            async with self._containers() as container:
                run.give(container)
                await drive(run)
        except Forestalled as error:
            failure = error
        except Fenced:
            log.warning("run_taken_over", run_id=run.record.run_id, workflow=run.workflow.name)
        except asyncio.CancelledError as error:
            failure = error
            if run.stop is not Stop.SHUTDOWN:
                raise
        except Exception as error:  # noqa: BLE001 - one run's trouble must not stop another's
            failure = error
            self._suspect(error, "run_interrupted", run_id=run.record.run_id, workflow=run.workflow.name)
        finally:
            self._settle(run, failure)

    def _settle(self, run: Execution, failure: BaseException | None) -> None:
        """Answer whoever waits for a run that this process does not drive any more."""
        record = run.record
        del self._live[record.run_id]
        if run.emitted:
            self._on_staged()
        ended = run.settled and record.status.ended
        again = None if self._closing else self._regained.pop(record.run_id, None)
        if ended:
            log_end(run)
            self._places.freed(record.workflow)
        waiting: list[Waiter] = []
        for waiter in run.waiters:
            future, to_the_end = waiter
            if future.done():
                continue
            if not run.settled and again is None:
                future.set_exception(interrupted(record.run_id, failure))
            elif run.settled and (ended or not to_the_end):
                future.set_result(run.view())
            else:
                waiting.append(waiter)
        is_nudged = record.run_id in self._nudged
        self._nudged.discard(record.run_id)
        if again is not None:
            self._take_back(again, waiting)
        elif run.settled and not ended and not self._closing:
            self._park(record, waiting)
            if is_nudged or (run.cancelling and record.status is RunStatus.WAITING):
                self._parking.wake_now(record.run_id)

    def _park(self, record: RunRecord, waiters: list[Waiter]) -> None:
        self._parking.hold(record.run_id, waiters)
        self._parking.wake_later(record)

    async def _resume(self, record: RunRecord) -> None:
        """Go on with a run, or keep it until it is due, something comes for it, or there is a place for it.

        One without a place that is cancelled, or whose time is over, needs none to end.
        """
        if not self._is_current(record):
            return
        now_us, is_waiting = self._ports.clock.now_us(), record.status is RunStatus.WAITING
        is_queued = is_waiting and record.waiting_for == QUEUED
        is_late = record.deadline_us is not None and record.deadline_us <= now_us
        is_far_off = record.wake_us is not None and record.wake_us > now_us
        waits = is_far_off or (is_waiting and record.wake_us is None)  # until then, or for something from outside
        if is_waiting and (record.cancel_us is not None or (is_queued and is_late)):
            self._places.leave(record)
            await self._go_on(record)
        elif not waits or is_held(record):
            await self._go_on(record)
        elif await self._is_for_others(record):
            return
        elif is_queued:
            self._queue(record)
        else:
            self._park(record, [])

    def _is_current(self, record: RunRecord) -> bool:
        """Tell whether to go on with a run as this record says.

        Not if it is known here as it was before it was lost, and still driven so: that writes nothing any more, is
        stopped, and then it goes on. Nor if it is known here as it became later.
        """
        run_id, now = record.run_id, _generation(record)
        live = self._live.get(run_id)
        driven = live.record if live is not None else self._resuming.get(run_id)
        if driven is not None:
            if _generation(driven) < now:
                self._regained[run_id] = record
                if live is not None:
                    self._stop(live)
            return False
        parked = self._parking.parked(run_id)
        return parked is None or _generation(parked) <= now

    def _take_back(self, record: RunRecord, waiters: list[Waiter]) -> None:
        """Go on with a run that is not driven any more as it was before it was lost, without waiting for that."""
        self._park(record, waiters)
        self._parking.wake_now(record.run_id)

    def _queue(self, record: RunRecord) -> None:
        """Have a run wait for a place."""
        self._park(record, [])
        self._places.queue(record)
        self._places.freed(record.workflow)

    def _lose(self, record: RunRecord) -> None:
        self._parking.drop(record.run_id, interrupted(record.run_id))

    async def _go_on(self, record: RunRecord) -> None:
        workflow = self._workflows.get(record.workflow)
        run_id = record.run_id
        if workflow is None or self._closing or run_id in self._live or run_id in self._resuming:
            return
        self._parking.hold(run_id, [])
        self._resuming[run_id] = record
        claimed = replace(record)
        is_woken = record.status is not RunStatus.RUNNING and self._parking.parked(run_id) is record
        try:
            run = await self._readying.restored(workflow, record, cancelled=run_id in self._cancelled)
            run.woken = is_woken
            if run_id in self._cancelled:
                run.cancel()
        except Lacking as why:
            await self._decline(claimed, why)
        except Exception as error:  # noqa: BLE001 - one run's trouble must not keep others from going on
            self._suspect(error, "run_not_resumed", run_id=run_id, workflow=record.workflow)
            self._parking.drop(run_id, interrupted(run_id, error))
        else:
            if run_id not in self._regained:
                self._launch(run)
        finally:
            del self._resuming[run_id]
            self._cancelled.discard(run_id)
        if run_id not in self._live and (again := self._regained.pop(run_id, None)) is not None:
            self._take_back(again, [])

    async def _decline(self, record: RunRecord, why: Lacking) -> None:
        """Let go of a run that others may be able to drive, or somebody later."""
        self._parking.drop(record.run_id, interrupted(record.run_id, why))
        await self.holding.decline(record, why.what)

    async def _is_for_others(self, record: RunRecord) -> bool:
        """Tell whether a run that would wait here needs what this process does not have; then it is given back."""
        why = await self._readying.lacking(self._workflows.get(record.workflow), record)
        if why is not None:
            await self._decline(record, why)
        return why is not None

    async def _cancel_here(self, record: RunRecord) -> None:
        """Cancel a run that is to be cancelled if it is here: driven, waiting, or on its way."""
        run_id = record.run_id
        live, parked = self._live.get(run_id), self._parking.parked(run_id)
        if live is not None and live.record.key == record.key:
            live.cancel()
        elif run_id in self._resuming:
            self._cancelled.add(run_id)
        elif parked is not None and parked.key == record.key:
            parked.cancel_us = record.cancel_us
            if parked.status is RunStatus.WAITING:
                self._places.leave(parked)
                await self._go_on(parked)

    async def _signal_here(self, record: RunRecord) -> None:
        """Go on with a run for which something came; one that is driven looks for it when it waits."""
        run_id = record.run_id
        parked = self._parking.parked(run_id)
        if run_id in self._live or run_id in self._resuming:
            self._nudged.add(run_id)
        elif parked is not None and parked.key == record.key:
            await self._go_on(parked)

    def _is_here(self, run_id: str) -> bool:
        return run_id in self._live or run_id in self._resuming or self._parking.parked(run_id) is not None

    def _suspect(self, error: Exception, event: str, **ids: str) -> None:
        """Log what stopped a run; if it was the store, have it taken up again once that is back."""
        if is_away(error):
            self.strays.suspected = True
            log.debug(event, exc_info=error, **ids)  # the store says by itself that it is away, once for all runs
        else:
            log.error(event, exc_info=error, **ids)

    def _tasks(self) -> Sequence[asyncio.Task[None]]:
        return [run.task for run in self._live.values() if run.task is not None]


def _generation(record: RunRecord) -> tuple[int, int]:
    return record.attempt, record.epoch


def _no_options(_: str) -> Mapping[str, Any]:
    return {}


def _nothing() -> None:
    """Tell nobody that events were staged."""
