"""Runs of workflows with a `max_concurrency`: one above it waits for a place, the oldest of this process first."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from daemon.engine.ports import Ports
from daemon.store.model import RunRecord, RunStatus
from daemon.store.writes import FenceRun, Outcome, TakePlace
from daemon.workflow.workflow import WorkflowBase


class Places:
    """Gives places to the queued runs of this process; the store counts them, for the whole fleet.

    Args:
        workflows: Those that are known here, by name.
        go_on: Goes on with a run that got a place.
        lose: Lets go of a run that another process has taken over while it waited.
    """

    def __init__(
        self,
        ports: Ports,
        workflows: Mapping[str, WorkflowBase],
        *,
        go_on: Callable[[RunRecord], Awaitable[None]],
        lose: Callable[[RunRecord], None],
    ) -> None:
        self._ports = ports
        self._workflows = workflows
        self._go_on = go_on
        self._lose = lose
        self._queues: dict[str, dict[str, RunRecord]] = {}
        self._filling: dict[str, bool] = {}  # whether there may be a place since it was last asked for one
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, record: RunRecord) -> bool:
        """Give a run that has just been started a place, if there is one and no other has waited for it here."""
        if self._queues.get(record.workflow) or await self._ask(record) is not Outcome.APPLIED:
            return False
        self._give(record)
        record.become(RunStatus.RUNNING)
        return True

    def queue(self, record: RunRecord) -> None:
        """Have a run wait for a place."""
        self._queues.setdefault(record.workflow, {})[record.run_id] = record

    def leave(self, record: RunRecord) -> None:
        """Have a run wait for a place no longer, since it is cancelled, or its time is over."""
        self._queues.get(record.workflow, {}).pop(record.run_id, None)

    def freed(self, workflow: str) -> None:
        """Give the next queued runs of a workflow their places, without waiting for that."""
        if self._queues.get(workflow):
            task = asyncio.get_running_loop().create_task(self._fill(workflow), name=f"places of {workflow}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def fill(self) -> None:
        """Give queued runs the places that there are, without waiting for that."""
        for workflow in self._queues:
            self.freed(workflow)

    def close(self) -> None:
        """Give no more places."""
        self._queues.clear()
        for task in self._tasks:
            task.cancel()

    async def _fill(self, workflow: str) -> None:
        queue = self._queues.get(workflow)
        if not queue:
            return
        if workflow in self._filling:
            self._filling[workflow] = True
            return
        try:
            while queue:
                self._filling[workflow] = False
                record = next(iter(queue.values()))
                outcome = await self._ask(record)
                if outcome is Outcome.CONFLICT:
                    if self._filling[workflow]:
                        continue
                    return
                if queue.get(record.run_id) is not record:
                    continue  # it goes on already, to its end; or it was lost, and is here again
                del queue[record.run_id]
                if outcome is Outcome.APPLIED:
                    self._give(record)
                    await self._go_on(record)
                else:
                    self._lose(record)
        finally:
            self._filling.pop(workflow, None)

    async def _ask(self, record: RunRecord) -> Outcome:
        """Have a place stored as a queued run's; a conflict: there is none."""
        limit = self._workflows[record.workflow].max_concurrency
        if limit is None:  # it was taken off the workflow while the run waited
            return Outcome.APPLIED
        fence = FenceRun(record.key, self._ports.owner, record.epoch)
        return await self._ports.store.commit(fence, TakePlace(record.key, record.app, record.workflow, limit))

    def _give(self, record: RunRecord) -> None:
        """Note that a run has a place; its status is left: nothing of it has begun, should it be cancelled now."""
        record.waiting_for = ""
        self._ports.news.tell_run(replace(record, status=RunStatus.RUNNING), self._ports.clock.now_us())
