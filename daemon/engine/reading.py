"""Looking at runs: those that this process drives as they stand, all others as they are stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.clock import to_us
from daemon.engine.ports import Ports
from daemon.errors import RunNotFound
from daemon.store.model import RunRecord, RunStatus
from daemon.store.port import RunFilter
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
        if live is not None:
            return live.view()
        record = await self._ports.store.run(self._ports.app, run_id)
        if record is None:
            raise RunNotFound(run_id)
        return await self._stored(record)

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
            limit: At most this many, 1 to 200.
            within_s: How long to look for runs that are rare among many, in seconds; the next page looks on.

        Raises:
            ValueError: `since` is naive.
        """
        if since is not None and since.tzinfo is None:
            msg = f"since is an aware datetime, not {since}; add tzinfo=UTC."
            raise ValueError(msg)
        wanted = RunFilter(workflow, status, trigger, to_us(since) if since is not None else None, text)
        limit = max(1, min(limit, _PAGE_MAX))
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
