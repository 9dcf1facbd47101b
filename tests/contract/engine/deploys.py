"""Applications as they were before a deploy and as they are after it, and processes that have one or the other."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from daemon import SourceStep, sleep, step, workflow
from daemon.clock import ManualClock
from daemon.engine.holding import GRACE_S
from daemon.store.port import Store
from daemon.workflow.naming import names_apart
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import SourceWorkflow, WorkflowBase
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import Journal, Process, until

NAP = timedelta(hours=1)
Compose = Callable[[], Any]


def flow(compose: Compose, name: str = "deployed", **options: Any) -> Any:
    """Return a workflow of another application than all others."""

    def deployed() -> Any:
        return compose()

    with names_apart():
        return workflow(name, **options)(deployed)


def bare(journal: Journal, name: str) -> SourceStep[str, str]:
    """Return a step without a compensation."""

    @step(name)
    async def act() -> str:
        journal.append(name)
        return f"{name}-output"

    return act


def in_order(steps: Sequence[SourceStep[Any, Any] | None]) -> Compose:
    """Return a composition of steps; None is a nap."""

    def compose() -> None:
        naps = 0
        for each in steps:
            if each is None:
                naps += 1
                sleep(NAP, name="nap" if naps == 1 else f"nap-{naps}")
            else:
                each()

    return compose


class Fleet:
    """The processes on one store, which look for runs as daemons do."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.processes: dict[str, tuple[Process, tuple[WorkflowBase, ...]]] = {}

    async def up(self, name: str, *workflows: WorkflowBase) -> Process:
        """Start a process with an application; it does not look yet."""
        process = await living(self.store, self.clock, name)
        process.engine.register(workflows)
        self.processes[name] = process, workflows
        return process

    async def down(self, name: str) -> None:
        """Stop a process."""
        process, _ = self.processes.pop(name)
        await process.die()

    async def look(self) -> None:
        """Have every process look for runs once, and let those that go on get as far as they do."""
        for process, workflows in self.processes.values():
            await process.take_over(*workflows)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is driven, or about to be."""
        await asyncio.sleep(0)
        await until(lambda: not any(map(_is_busy, self.processes.values())), within_s=10.0)

    async def grace(self) -> None:
        """Let the time go by in which somebody may take a run, and look as often as daemons do."""
        for _ in range(4):
            await self.look()
            self.clock.advance(timedelta(seconds=GRACE_S / 3))
        await self.look()

    async def wake(self) -> None:
        """Let a nap end, and what comes after it happen."""
        self.clock.advance(NAP)
        await self.settle()

    async def run(self, run_id: str = "run-1") -> WorkflowRun[Any]:
        """Return a run as somebody sees it who has no application."""
        return await Process(self.store, self.clock, "looker").engine.get(run_id)

    async def waits_for(self, wanted: str, run_id: str = "run-1") -> None:
        """Return when a run waits for this."""
        give_up_s = time.monotonic() + 10
        while not (await self.run(run_id)).waiting_for.startswith(wanted):
            assert time.monotonic() < give_up_s, (await self.run(run_id)).waiting_for
            await self.settle()

    async def owner(self, run_id: str = "run-1") -> str:
        """Return whose a run is."""
        record = await self.store.run("shop", run_id)
        assert record is not None
        return record.owner


def _is_busy(of: tuple[Process, tuple[WorkflowBase, ...]]) -> bool:
    engine = of[0].engine
    return bool(engine.running or engine._resuming or engine._parking._waking or engine._places._tasks)


async def begun(fleet: Fleet, old: SourceWorkflow[Any], *, run_id: str = "run-1") -> None:
    """Have a process begin a run that comes to where it waits, and stop."""
    process = await fleet.up("begins", old)
    await old(process.container).run(run_id=run_id)
    await fleet.down("begins")


def plain(journal: Journal, names: str, **options: Any) -> Any:
    """Return a workflow of steps by their initials: capitals have a compensation, a dash is a nap."""
    return flow(in_order(steps_of(journal, names)), **options)


def steps_of(journal: Journal, names: str) -> list[SourceStep[Any, Any] | None]:
    """Return steps as `plain` does."""
    return [
        None if name == "-" else journal.step(name.lower()) if name.isupper() else bare(journal, name) for name in names
    ]
