"""What steps do to the world: it stays, whatever becomes of the process that did it."""

import asyncio
from dataclasses import dataclass
from random import Random

from daemon import StepContext

DO, TRY = "do", "try"
UNDO, TRY_TO_UNDO = "undo", "try to undo"
Place = tuple[str, int, str]
"""A step of a run: the run's id, its attempt, the step's name."""
FORWARD, BACK = frozenset({DO, TRY}), frozenset({UNDO, TRY_TO_UNDO})


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that an attempt of a step, or of its compensation, did.

    Attributes:
        kind: `do`, or `try` if the attempt failed afterwards and says that there is nothing to undo; the same for
            a compensation: `undo`, `try to undo`.
        name: As the scenario's plan calls it.
        run_id: Of the run that the step is in: the one at the top, or a child.
        key: The idempotency key.
        number: Which attempt of the step, or of its compensation, it was.
        process: Which process it was done by; 1 is the first.
    """

    kind: str
    name: str
    run_id: str
    step: str
    key: str
    number: int
    process: int

    @property
    def of(self) -> tuple[str, int]:
        """The run at the top, and which attempt of it."""
        return self.run_id.partition(":")[0], int(self.key.rsplit(":", 2)[1])

    @property
    def place(self) -> Place:
        """Where its step is."""
        return self.run_id, self.of[1], self.step


class Ledger:
    """All effects, in the order in which they happened.

    Attributes:
        process: Which process lives.
        random: Draws how long everything takes; without it, everything takes one step.
    """

    def __init__(self, random: Random | None = None) -> None:
        self.effects: list[Effect] = []
        self.names: set[str] = set()
        self.process = 0
        self.random = random

    async def note(self, kind: str, name: str, ctx: StepContext) -> None:
        """Do something in the middle of a step: it can be stopped before, and afterwards."""
        await self._pause()
        effect = Effect(kind, name, ctx.run_id, ctx.step, ctx.idempotency_key, ctx.attempt, self.process)
        self.effects.append(effect)
        self.names.add(name if kind in FORWARD else f"undo {name}")
        await self._pause()

    async def _pause(self) -> None:
        for _ in range(1 if self.random is None else self.random.randint(0, 3)):
            await asyncio.sleep(0)
