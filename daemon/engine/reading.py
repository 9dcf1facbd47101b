"""Looking at runs: those that this process drives as they stand, all others as they are stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.engine.filters import check_after, run_filter
from daemon.engine.operations import latest
from daemon.engine.ports import Ports
from daemon.store.model import RunRecord, RunStatus
from daemon.workflow.graph import Graph
from daemon.workflow.run import WorkflowRun

if TYPE_CHECKING:
    from daemon.engine.execution import Execution
    from daemon.workflow.workflow import WorkflowBase

_PAGE_MAX = 200
_PAGE_S = 0.002


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first, and where the next page begins; `next` is None on the last one, and on that alone."""

    items: list[WorkflowRun[Any]]
    next: str | None


class RunReader:
    """Shows the runs of one application."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._workflows: dict[str, WorkflowBase] = {}
        self._live: dict[str, Execution] = {}

    async def get(self, run_id: str) -> WorkflowRun[Any]:
        """Return the latest attempt of a run, as it stands.

        Raises:
            RunNotFound: No run has this id.
        """
        live = self._live.get(run_id)
        return live.view() if live is not None else await self._stored(await latest(self._ports, run_id))

    async def list(
        self,
        *,
        workflow: str | None = None,
        status: RunStatus | None = None,
        trigger: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
        after: str | None = None,
        limit: int = 50,
        within_s: float = _PAGE_S,
    ) -> RunPage:
        """Return a page of runs, newest first.

        A page may hold fewer than `limit`, or none, although there are more: follow `next` until it is None.

        Args:
            workflow: Only of this workflow.
            status: Only with this status.
            trigger: A trigger's kind (`event`), or kind and name (`event:hello-customer`).
            since: Started at this time or later; aware.
            text: Occurs in the run id, the workflow's name, the input or the errors, ignoring case.
            after: The `next` of the page before.
            limit: At most this many, from 1 on; above 200 it counts as 200.
            within_s: How long to look for runs that are rare among many, in seconds; the next page looks on.

        Raises:
            ValueError: `since` is naive, or a status, a trigger, an `after` or a limit is none; says what is one.
        """
        wanted = run_filter(workflow=workflow, status=status, trigger=trigger, since=since, text=text)
        if after is not None:
            check_after(after)
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit is 1 to {_PAGE_MAX}, not {limit!r}.")
        if wanted is None:
            return RunPage([], None)
        limit = min(limit, _PAGE_MAX)
        found = await self._ports.store.runs(self._ports.app, wanted, after=after, limit=limit, within_s=within_s)
        steps = await self._ports.store.steps([record.key for record in found.records]) if found.records else {}
        items = [WorkflowRun(record, steps[record.key], graph=self._graph(record)) for record in found.records]
        return RunPage(items, found.next)

    async def _stored(self, record: RunRecord) -> WorkflowRun[Any]:
        steps = await self._ports.store.steps([record.key])
        return WorkflowRun(record, steps[record.key], graph=self._graph(record))

    def _graph(self, record: RunRecord) -> Graph | None:
        """Return the graph that decodes a run's values here, if its workflow still has the one it was started with."""
        workflow = self._workflows.get(record.workflow)
        return workflow.graph if workflow is not None and workflow.graph.hash == record.graph_hash else None
