"""Steps that ask somebody, as the tests of external steps need them."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from daemon import Ref, SourceWorkflow, Step, StepContext, StepResponse, step, transform, workflow
from tests.contract.engine.processes import Journal


class Approval(BaseModel):
    """What somebody said."""

    by: str
    approved: bool = True


ANN, BOB = Approval(by="Ann"), Approval(by="Bob")
Response = Callable[[StepContext], Any]


def _pending(_: StepContext) -> StepResponse[Any, Any]:
    return StepResponse.pending()


def asking(
    journal: Journal, name: str = "ask", response: Response = _pending, **options: Any
) -> Step[str, Approval, Any]:
    """Return an external step whose compensation takes whatever there is."""

    @step(name, external=True, **options)
    async def ask(what: str, ctx: StepContext) -> StepResponse[Approval, Approval | str | None]:
        journal.append(f"{name} {what} {ctx.attempt}")
        found: StepResponse[Approval, Approval | str | None] = response(ctx)
        return found

    @ask.compensate
    async def undo(given: Approval | str | None) -> None:
        journal.append(f"undo {name} {given.by if isinstance(given, Approval) else given}")

    return ask


def approving(
    journal: Journal, response: Response = _pending, *, workflow_options: dict[str, Any] | None = None, **options: Any
) -> SourceWorkflow[str]:
    """Return a workflow that does something, asks, and tells who answered."""
    first, ask = journal.step("first"), asking(journal, response=response, **options)

    @workflow("approving", **(workflow_options or {}))
    def approve() -> Ref[str]:
        return transform(ask(first()), lambda approval: approval.by)

    return approve
