"""Makes runs ready to be driven: new ones as they begin, others as they are stored."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import svcs

from daemon.engine.execution import Execution
from daemon.engine.graphs import Graphs
from daemon.engine.needs import lacking
from daemon.engine.ports import Ports
from daemon.engine.restoring import restore
from daemon.engine.starting import trigger_of
from daemon.errors import CodecError, StoreUnavailableError
from daemon.store.model import RunRecord
from daemon.workflow.context import RunScope
from daemon.workflow.rebuilding import Rebuilt
from daemon.workflow.workflow import WorkflowBase

_NO_CONTAINER = svcs.Container(svcs.Registry())


class Lacking(Exception):  # noqa: N818 - control flow inside the engine
    """A run cannot go on with the present code.

    Attributes:
        what: What is missing or has changed, in words.
    """

    def __init__(self, what: list[str]) -> None:
        self.what = what
        super().__init__("; ".join(what))


class Readying:
    """Makes executions. It only reads.

    Args:
        options: The table `[options.<workflow>]` by workflow name.
    """

    def __init__(self, ports: Ports, options: Callable[[str], Mapping[str, Any]]) -> None:
        self._ports = ports
        self._options = options
        self._graphs = Graphs(ports.store)

    def begun(self, workflow: WorkflowBase, record: RunRecord, rebuilt: Rebuilt | None = None) -> Execution:
        """Return a run as it begins, with its workflow's graph unless it has another one."""
        ports = self._ports
        scope = RunScope(
            _NO_CONTAINER,
            ports.app,
            record.run_id,
            record.attempt,
            workflow.name,
            trigger_of(record),
            ports.max_payload_bytes,
            self._options,
            workflow.fn.__module__,
        )
        return Execution(ports, workflow, record, scope, rebuilt=rebuilt)

    async def restored(self, workflow: WorkflowBase, record: RunRecord, *, cancelled: bool = False) -> Execution:
        """Return a run as it is stored, with its own graph, and everything that it still needs.

        Args:
            workflow: The present one.
            record: Its row, which changes with it from now on.
            cancelled: Whether it is to be cancelled, if that is not in the row yet.

        Raises:
            Lacking: The present code does not have all that it needs.
            StoreUnavailableError: The store cannot be read.
        """
        try:
            rebuilt = await self._graphs.of(record.graph_hash, workflow.graph)
            run = self.begun(workflow, record, rebuilt)
            await restore(run, self._graphs)
        except CodecError as error:
            raise Lacking([str(error)]) from error
        if cancelled or record.cancel_us is not None:
            run.cancel()
        what = lacking(run)
        if what:
            raise Lacking([*_CANCELLED, *what] if run.cancelling else what)
        return run

    async def lacking(self, workflow: WorkflowBase | None, record: RunRecord) -> Lacking | None:
        """Return why a run that waits could not go on, if it could not; it is left as it is.

        Nothing is read of one whose graph is its workflow's present one.
        """
        if workflow is None or record.graph_hash == workflow.graph.hash:
            return None
        try:
            await self.restored(workflow, replace(record))
        except Lacking as why:
            return why
        except StoreUnavailableError:
            return None  # it is looked at once more when it goes on
        return None


_CANCELLED = ("it is to be cancelled, and cannot be undone",)
