"""Scenarios: a workflow whose steps write into the ledger, what comes from outside, and what has to be seen of it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from daemon import Retry, RunExists, RunStateError, RunStatus, Step, StepContext, step
from daemon.workflow.workflow import WorkflowBase
from tests.contract.engine.processes import Process
from tests.crashes.ledger import DO, TRY, TRY_TO_UNDO, UNDO, Ledger

Plan = str | tuple["Plan", ...] | frozenset["Plan"]
Fails = Callable[[int], BaseException | None]


class Violation(AssertionError):  # noqa: N818 - what is looked for
    """Something was seen that must never be seen."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that the outside does, again and again until it was told that it is done.

    Attributes:
        after: The effect that it comes after (`undo x`: of a compensation); empty: when nothing else happens.
    """

    act: Callable[[Process], Awaitable[object]]
    after: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workflow, and how its runs may go.

    Attributes:
        plan: Its effects: a tuple one after the other, a frozenset at the same time; with a `?`: not in every run.
        ends: How a run may end.
        back: The same as far as undoing goes, which takes it from its end; otherwise the plan.
        plans: Of later attempts of the run; otherwise as the first.
        exact: Whether everything that the store says in the end is as if nobody had died.
        repeatable: Effects of idempotent steps: they may be repeated until something else has begun after them.
        stuck: Effects that nobody can undo.
        either: At most one of these is ever seen of a run.
        returns: How many times a run that had ended may go on, as the same attempt.
        published: How many events leave.
        runs: The ids of the runs that are asked for at the beginning, at the same time.
        given: Their input.
    """

    name: str
    flow: WorkflowBase
    plan: Plan
    ends: frozenset[RunStatus] = frozenset({RunStatus.COMPLETED})
    inputs: tuple[Input, ...] = ()
    back: Plan | None = None
    plans: dict[int, Plan] = field(default_factory=dict)
    exact: bool = True
    repeatable: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    either: frozenset[str] = frozenset()
    returns: int = 0
    published: int = 0
    runs: tuple[str, ...] = ("run",)
    given: Any = None

    async def ask(self, process: Process, run_id: str) -> None:
        """Ask for a run, as a handler does, and wait for the answer.

        One that may have been rolled back meanwhile is not asked for again: that would be its next attempt.
        """
        flow: Any = self.flow
        given = () if flow.graph.input is None else (self.given,)
        on_existing = "join" if self.ends == {RunStatus.COMPLETED} else "reject"
        with suppress(RunExists):
            await flow(process.container).run(*given, run_id=run_id, raise_on_error=False, on_existing=on_existing)


def never(_: int) -> BaseException | None:
    return None


def until(attempt: int, error: BaseException | None = None) -> Fails:
    """Return what lets all attempts before this one fail."""
    return lambda number: (error or OSError("not yet")) if number < attempt else None


def always(error: BaseException | None = None) -> Fails:
    return lambda _: error or OSError("broken")


def act(
    name: str,
    *,
    fails: Fails = never,
    undo_fails: Fails = never,
    undoable: bool = True,
    takes_none: bool = True,
    leaves: bool = False,
    **options: Any,
) -> Step[Any, str, Any]:
    """Return a step that does something, and a compensation that undoes it.

    Args:
        fails: What its attempts raise after they did it.
        undo_fails: What the attempts of its compensation raise.
        undoable: Whether it has a compensation.
        takes_none: Whether the compensation takes None: then what failed is undone, too.
        leaves: Whether what an attempt did that fails has to be undone.
    """
    options.setdefault("compensation_retry", Retry.never())

    @step(name, **options)
    async def do(given: Any, ctx: StepContext) -> str:
        failure = fails(ctx.attempt)
        await _note(ctx, DO if failure is None or leaves else TRY, ctx.step)
        if failure is not None:
            raise failure
        return f"{ctx.step}-output"

    async def undo(given: Any, ctx: StepContext) -> None:
        failure = undo_fails(ctx.attempt)
        await _note(ctx, UNDO if failure is None else TRY_TO_UNDO, ctx.step)
        if failure is not None:
            raise failure

    undo.__annotations__["given"] = Any if takes_none else str
    if undoable:
        do.compensate(undo)
    return do


async def _note(ctx: StepContext, kind: str, name: str) -> None:
    await ctx.container.get(Ledger).note(kind, name, ctx)


def request(
    of: Callable[[Process], Awaitable[object]], wanted: Callable[[Process], Awaitable[bool]] | None = None
) -> Callable[[Process], Awaitable[object]]:
    """Return what asks for something once more after a crash: that it was done already is an answer, too."""

    async def ask(process: Process) -> None:
        if wanted is not None and not await wanted(process):
            return
        try:
            await of(process)
        except RunStateError:
            return

    return ask


def named(name: str, *, fails: bool) -> str:
    """Return what a workflow is called that fails in the end, or does not."""
    return f"{name}-fails" if fails else name


def ends(*, fails: bool) -> frozenset[RunStatus]:
    """Return how its runs end."""
    return frozenset({RunStatus.REVERTED if fails else RunStatus.COMPLETED})
