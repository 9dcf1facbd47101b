"""What the engine's contract suite is built of: processes on one store, and steps that keep a journal."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import svcs

from daemon import PermanentFailure, Retry, SourceStep, step
from daemon.clock import Clock
from daemon.engine.engine import WorkflowEngine
from daemon.engine.ports import Ports
from daemon.store.model import RunRecord
from daemon.store.port import Store
from daemon.store.writes import Outcome, Write
from daemon.workflow.port import Engine
from daemon.workflow.workflow import WorkflowBase

APP = "shop"
LEASE_S = 1e6


class Process:
    """A process with an engine: its container, and what the engine was given."""

    def __init__(self, store: Store, clock: Clock, owner: str, *, limit: int = 1 << 20, alone: bool = False) -> None:
        self.store = store
        self.clock = clock
        self.owner = owner
        self.staged = 0
        self.registry = svcs.Registry()
        self.container = svcs.Container(self.registry)
        ports = Ports(store, clock, APP, owner, limit, 30.0, alone=alone)
        self.engine = WorkflowEngine(
            ports,
            containers=lambda: svcs.Container(self.registry),
            options=lambda name: {"of": name},
            on_staged=self._count,
        )
        self.registry.register_value(WorkflowEngine, self.engine)
        self.registry.register_value(Engine, self.engine)

    def _count(self) -> None:
        self.staged += 1

    async def announce(self) -> None:
        """Take out a lease."""
        await self.store.register(APP, self.owner, lease_s=LEASE_S)

    async def die(self) -> None:
        """End as a process does that is told to: nothing that runs is finished."""
        await self.engine.drain(0)
        await self.store.retire(self.owner)

    async def take_over(self, *workflows: WorkflowBase) -> Sequence[RunRecord]:
        """Claim what dead processes have left, and go on with it."""
        self.engine.register(workflows)
        holding, names = self.engine.holding, [each.name for each in workflows]
        await holding.review()
        claimed = await self.store.claim_runs(APP, self.owner, names, limit=100, without=holding.declined)
        await self.engine.resume(claimed)
        return claimed


class Journal(list[str]):
    """What steps did, in order."""

    def since(self, former: Sequence[Sequence[str]]) -> list[str]:
        """Return what was noted after these, which are its beginning."""
        return self[sum(map(len, former)) :]

    def step(
        self,
        name: str,
        *,
        fails: BaseException | None = None,
        undo_fails: BaseException | None = None,
        refuses_none: bool = True,
        **options: Any,
    ) -> SourceStep[str, Any]:
        """Return a step with a compensation; each notes that it ran, and then fails if it is to.

        `refuses_none`: the compensation undoes only what has an output.
        """
        options.setdefault("compensation_retry", Retry.never())

        @step(name, **options)
        async def act() -> str:
            self.append(name)
            if fails is not None:
                raise fails
            return f"{name}-output"

        async def undo(data: Any) -> None:
            assert data == f"{name}-output" or (data is None and not refuses_none)
            self.append(f"undo {name}")
            if undo_fails is not None:
                raise undo_fails

        undo.__annotations__["data"] = str if refuses_none else str | None
        act.compensate(undo)
        return act

    def failing(self, name: str = "break", fails_with: str = "it broke", **options: Any) -> SourceStep[str, str]:
        """Return a step that fails and has no compensation."""

        @step(name, **options)
        async def act() -> str:
            self.append(name)
            raise PermanentFailure(fails_with)

        return act


class CountingStore:
    """A store that counts its commits, and may be told to hold one back or to crash the process at it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commits: list[tuple[Write, ...]] = []
        self.before_commit: Callable[[tuple[Write, ...]], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, *writes: Write) -> Outcome:
        """Count, and pass on."""
        if self.before_commit is not None:
            await self.before_commit(writes)
        self.commits.append(writes)
        return await self._store.commit(*writes)


async def until(probe: Callable[[], object], *, what: str = "it happens", within_s: float = 5.0) -> None:
    """Return when the probe says so."""
    give_up_s = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < give_up_s, f"waited {within_s} s, and not: {what}"
        await asyncio.sleep(0.001)
