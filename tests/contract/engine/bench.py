"""Steps in a row that can be told to fail, and what is asked of their runs."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import (
    Ref,
    RunStateError,
    Step,
    step,
    workflow,
)
from tests.contract.engine.processes import Journal, Process


class Bench:
    """Steps that take and give a text, note it, and fail as long as they are broken."""

    def __init__(self, journal: Journal) -> None:
        self.broken: set[str] = set()
        self.journal = journal

    def step(self, name: str, **options: Any) -> Step[str, str, str]:
        @step(name, **options)
        async def act(text: str) -> str:
            self.journal.append(f"{name} {text}")
            if name in self.broken:
                raise OSError("broken")
            return f"{text}-{name}"

        return act

    def undoable(self, name: str, **options: Any) -> Step[str, str, str]:
        act = self.step(name, **options)

        @act.compensate
        async def undo(text: str) -> None:
            self.journal.append(f"undo {name}")

        return act

    def taken(self) -> list[str]:
        """Return what was noted, and forget it."""
        found = list(self.journal)
        self.journal.clear()
        return found


def abc(bench: Bench, kind: Callable[[str], Step[str, str, str]]) -> Any:
    a, b, c = kind("a"), kind("b"), kind("c")

    @workflow("abc")
    def abc(text: Ref[str]) -> Ref[str]:
        return c(b(a(text)))

    return abc


async def ended(shop: Process, flow: Any, value: Any, run_id: str) -> Any:
    return await flow(shop.container).run(value, run_id=run_id, raise_on_error=False)


async def refusal(shop: Process, run_id: str, **asked: Any) -> str:
    with pytest.raises(RunStateError) as error:
        await shop.engine.rerun(run_id, **asked)
    return str(error.value)
