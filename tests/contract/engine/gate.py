"""A workflow of one step that waits until it is told to go on."""

import asyncio

from daemon import Ref, step, workflow
from tests.contract.engine.processes import Journal


class Gate:
    """A step that waits until it is told to go on."""

    def __init__(self, journal: Journal) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

        @step("gate")
        async def gate() -> str:
            journal.append("gate")
            self.entered.set()
            await self.open.wait()
            return "through"

        @workflow("gated")
        def gated() -> Ref[str]:
            return gate()

        self.workflow = gated
