"""Workflows bound to a container, to be run."""

import re
from typing import TYPE_CHECKING, Any, Generic, Literal

import svcs
from typing_extensions import TypeVar

from daemon.workflow.port import Engine, RunOptions
from daemon.workflow.run import WorkflowRun

if TYPE_CHECKING:
    from daemon.workflow.workflow import SourceWorkflow, Workflow, WorkflowBase

In = TypeVar("In")
Out = TypeVar("Out")
_AS_USUAL = RunOptions()
_RUN_ID = re.compile(r"[A-Za-z0-9._:@-]{1,200}")


def is_run_id(run_id: object) -> bool:
    """Tell whether it is 1 to 200 of `[A-Za-z0-9._:@-]`."""
    return isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) is not None


def check_run_id(run_id: str) -> str:
    """Return `run_id` if it is 1 to 200 of `[A-Za-z0-9._:@-]`.

    Raises:
        ValueError: It is not.
    """
    if not is_run_id(run_id):
        msg = f"A run id is 1 to 200 of the characters A-Z a-z 0-9 . _ : @ -, not {str(run_id)[:80]!r}."
        raise ValueError(msg)
    return run_id


class BoundWorkflow(Generic[In, Out]):
    """A workflow and the container that it runs with."""

    def __init__(self, workflow: "Workflow[In, Out]", container: svcs.Container | None) -> None:
        self._workflow = workflow
        self._container = container

    async def run(
        self,
        input: In,
        *,
        run_id: str | None = None,
        raise_on_error: bool = True,
        wait: bool | None = None,
        on_existing: Literal["join", "reject"] = "join",
    ) -> WorkflowRun[Out]:
        """Run the workflow, and return when the run ends or is parked.

        Args:
            input: What the composition's ref stands for in this run.
            run_id: One id is one run; left out: derived from the trigger inside a handler, else a fresh one.
            raise_on_error: Raise `WorkflowFailed` for a run that ended without a result; else return it.
            wait: True waits for the end, also of a parked run; False only for the durable start.
            on_existing: "join" a run of this id, or "reject" it with `RunExists`.

        Raises:
            WorkflowFailed: The run ended without a result; its `.run` has the errors.
            RunExists: The id belongs to another workflow or another input, or is rejected.
            CodecError: The input does not fit its declared type.
            PayloadTooLargeError: It is above `daemon.max_payload_bytes`.
            StoreUnavailableError: Whether the run was started is unknown; ask again with the same `run_id`.
            ValueError: `run_id` is none.
        """
        options = _options(run_id, wait, on_existing)
        return await _run(self._workflow, self._container, input, options, raise_on_error=raise_on_error)


class BoundSource(Generic[Out]):
    """A workflow without an input, and the container that it runs with."""

    def __init__(self, workflow: "SourceWorkflow[Out]", container: svcs.Container | None) -> None:
        self._workflow = workflow
        self._container = container

    async def run(
        self,
        *,
        run_id: str | None = None,
        raise_on_error: bool = True,
        wait: bool | None = None,
        on_existing: Literal["join", "reject"] = "join",
    ) -> WorkflowRun[Out]:
        """Run the workflow, and return when the run ends or is parked; as `BoundWorkflow.run`, without an input."""
        options = _options(run_id, wait, on_existing)
        return await _run(self._workflow, self._container, None, options, raise_on_error=raise_on_error)


def _options(run_id: str | None, wait: bool | None, on_existing: Literal["join", "reject"]) -> RunOptions:  # noqa: FBT001 - as `run` got it
    if on_existing not in ("join", "reject"):
        msg = f'on_existing is "join" or "reject", not {on_existing!r}.'
        raise ValueError(msg)
    if run_id is None and wait is None and on_existing == "join":
        return _AS_USUAL
    if wait not in (None, True, False):
        msg = f"wait is True, False, or left out, not {wait!r}."
        raise ValueError(msg)
    return RunOptions(check_run_id(run_id) if run_id is not None else None, wait, on_existing)


async def _run(
    workflow: "WorkflowBase", container: svcs.Container | None, value: Any, options: RunOptions, *, raise_on_error: bool
) -> WorkflowRun[Any]:
    if container is None:
        from daemon.engine.memory import run_alone  # noqa: PLC0415 - only a run without a container needs an engine here

        run = await run_alone(workflow, value, options)
    else:
        engine = await container.aget(Engine)
        run = await engine.execute(workflow, value, options)
    if raise_on_error and run.status.ended and run.status != "completed":
        raise run.failure()
    return run
