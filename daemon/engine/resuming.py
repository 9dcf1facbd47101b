"""Takes up runs that this process owns: those that it has claimed, that are due, or for which something came."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Unpack

from daemon.engine.driving import RunDriver, Surroundings
from daemon.engine.ending import interrupted
from daemon.engine.execution import log
from daemon.engine.holding import Holding
from daemon.engine.ports import Ports
from daemon.engine.readying import Lacking, Readying
from daemon.store.model import QUEUED, RunRecord, RunStatus, is_held


class RunResumer(RunDriver):
    """Takes runs up and lets go of those that it does not have everything for; as `RunDriver` is made.

    Attributes:
        holding: The runs that this process has given back; for machinery.
    """

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports, **around)
        self._readying = Readying(ports, around.get("options", _no_options))
        self.holding = Holding(ports)
        self._resuming: dict[str, RunRecord] = {}
        self._cancelled: set[str] = set()  # those among them that somebody cancels meanwhile
        self._heard = 0

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

    def _queue(self, record: RunRecord) -> None:
        """Have a run wait for a place."""
        self._park(record, [])
        self._places.queue(record)
        self._places.freed(record.workflow)

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
        parked, live = self._parking.parked(run_id), self._live.get(run_id)
        if live is not None or run_id in self._resuming:
            self._nudged.add(run_id)
            if live is not None:
                live.nudge()
        elif parked is not None and parked.key == record.key:
            await self._go_on(parked)

    def _is_here(self, run_id: str) -> bool:
        return run_id in self._live or run_id in self._resuming or self._parking.parked(run_id) is not None


def _generation(record: RunRecord) -> tuple[int, int]:
    return record.attempt, record.epoch


def _no_options(_: str) -> Mapping[str, Any]:
    return {}
