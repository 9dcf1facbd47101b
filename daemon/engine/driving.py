"""Drives runs, each by a task, and lets go of those that wait for long."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from typing import Any, Required, TypedDict, Unpack

import svcs

from daemon.engine.control import Fenced, Forestalled, Stop
from daemon.engine.drive import drive
from daemon.engine.ending import interrupted, log_end
from daemon.engine.execution import Execution, log
from daemon.engine.in_place import begin_in_place
from daemon.engine.parking import Parking, Waiter
from daemon.engine.places import Places
from daemon.engine.ports import Ports
from daemon.engine.reading import RunReader
from daemon.engine.strays import Strays, is_away
from daemon.store.model import RunRecord, RunStatus

_CANCEL_S = 5.0
Containers = Callable[[], AbstractAsyncContextManager[svcs.Container]]


class Surroundings(TypedDict, total=False):
    """What an engine is given besides its ports; see `RunDriver`."""

    containers: Required[Containers]
    options: Callable[[str], Mapping[str, Any]]
    on_staged: Callable[[], object]


class RunDriver(RunReader, ABC):
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
        strays: Its runs that it has lost sight of; for machinery.
    """

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports)
        self._containers = around["containers"]
        self._on_staged = around.get("on_staged", _nothing)
        self.strays = Strays(ports, is_here=self._is_here, resume=self._resume)
        self._parking = Parking(ports.clock, wake=self._resume, go_on=self._go_on)
        self._places = Places(ports, self._workflows, go_on=self._go_on, lose=self._lose)
        self._regained: dict[str, RunRecord] = {}  # lost, and got back while they are still driven as they were
        self._nudged: set[str] = set()  # those that are driven while something comes that they wait for
        self._closing = False

    @property
    def running(self) -> int:
        """How many runs this process drives at the moment."""
        return len(self._live)

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

    def _launch_in_place(self, run: Execution) -> None:
        """Drive a run of a fresh id at once, up to where it has to wait if it does; from there on a task drives it.

        Until then it is in its starter's: nothing of the application that is called may ask which one it is in.
        """
        self._live[run.record.run_id] = run
        context = copy_context()
        try:
            rest = begin_in_place(self._drive(run), context)
        except asyncio.CancelledError:
            return  # its own: whoever waits knows
        finally:
            if self._ports.alone:
                run.journal.show()
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
            if not run.settled:
                run.cause = failure
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

    def _take_back(self, record: RunRecord, waiters: list[Waiter]) -> None:
        """Go on with a run that is not driven any more as it was before it was lost, without waiting for that."""
        self._park(record, waiters)
        self._parking.wake_now(record.run_id)

    def _lose(self, record: RunRecord) -> None:
        self._parking.drop(record.run_id, interrupted(record.run_id))

    @abstractmethod
    def _is_here(self, run_id: str) -> bool:
        """Tell whether a run is driven here, or waits here, or is on its way."""

    @abstractmethod
    async def _resume(self, record: RunRecord) -> None:
        """Go on with a run, or keep it until it is due, something comes for it, or there is a place for it."""

    @abstractmethod
    async def _go_on(self, record: RunRecord) -> None:
        """Go on with a run, whatever it waited for."""

    def _suspect(self, error: Exception, event: str, **ids: str) -> None:
        """Log what stopped a run; if it was the store, have it taken up again once that is back."""
        if is_away(error):
            self.strays.suspected = True
            log.debug(event, exc_info=error, **ids)  # the store says by itself that it is away, once for all runs
        else:
            log.error(event, exc_info=error, **ids)

    def _tasks(self) -> Sequence[asyncio.Task[None]]:
        return [run.task for run in self._live.values() if run.task is not None]


def _nothing() -> None:
    """Tell nobody that events were staged."""
