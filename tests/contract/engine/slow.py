"""A step that a test lets go on."""

import asyncio

from daemon import (
    Retry,
    SourceStep,
    step,
)
from tests.contract.engine.processes import Journal


class Slow:
    """A step that runs until it is let go on."""

    def __init__(self, journal: Journal, name: str = "slow", *, fails: bool = False) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.step: SourceStep[str, str] = self._make(journal, name, fails=fails)

    def _make(self, journal: Journal, name: str, *, fails: bool) -> SourceStep[str, str]:
        @step(name, retry=Retry(max_attempts=5))
        async def act() -> str:
            journal.append(name)
            self.entered.set()
            await self.go_on.wait()
            if fails:
                raise ValueError("no")
            return name

        @act.compensate
        async def undo(_: str) -> None:
            journal.append(f"undo {name}")

        return act
