"""What a workflow needs of an engine: the seam that keeps what an application writes apart from what runs it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from daemon.workflow.run import WorkflowRun
    from daemon.workflow.workflow import WorkflowBase


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is started and awaited; as the arguments of `run`.

    Attributes:
        run_id: None: derived from the trigger in a handler, else a fresh one.
        wait: None: until it ends or is parked; True: until it ends; False: until its start is durable.
        on_existing: What to do if a run with this id exists: join it (or return its result), or raise `RunExists`.
    """

    run_id: str | None = None
    wait: bool | None = None
    on_existing: Literal["join", "reject"] = "join"


class Engine(Protocol):
    """Starts runs of workflows, and sees to it that every run that was started ends exactly once."""

    async def execute(self, workflow: "WorkflowBase", value: Any, options: RunOptions) -> "WorkflowRun[Any]":
        """Start or join a run, and return it when it ended or as `options.wait` says.

        A caller that is cancelled does not take the run with it.

        Raises:
            RunExists: The id belongs to another workflow or input, or exists and `on_existing` is "reject".
            CodecError: The input does not fit the workflow's input type.
        """
