"""Which runs could not go on with the present code: looked up before a deploy, without changing anything."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from daemon.engine.ports import Ports
from daemon.engine.readying import Lacking, Readying
from daemon.store.model import RunRecord
from daemon.workflow.workflow import WorkflowBase

_PAGE = 200
_EXAMPLES = 3


@dataclass(slots=True)
class Stranded:
    """Runs that would be held, all for the same reasons.

    Attributes:
        graph: The hash of the graph that they were started with.
        why: What is missing or has changed, in words.
        runs: The ids of the first of them.
    """

    workflow: str
    graph: str
    why: tuple[str, ...]
    count: int = 0
    runs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class InFlight:
    """The runs that have not ended, children aside.

    Attributes:
        stranded: Those that would be held, by workflow, graph and reasons.
        is_new: Whether nothing was ever stored.
    """

    count: int
    stranded: list[Stranded]
    is_new: bool = False


async def in_flight(ports: Ports, workflows: Iterable[WorkflowBase]) -> InFlight:
    """Return which unended runs could not go on with these workflows, and those that are steps of them.

    Raises:
        StoreUnavailableError: The store cannot be read.
    """
    readying, known = Readying(ports, _no_options), dict(_known(workflows))
    found: dict[tuple[str, str, tuple[str, ...]], Stranded] = {}
    count, after = 0, None
    while page := await ports.store.unended(ports.app, after=after, limit=_PAGE):
        after = page[-1].key
        count += len(page)
        for record in page:
            why = await _why(readying, known.get(record.workflow), record)
            if why:
                group = record.workflow, record.graph_hash, why
                stranded = found.setdefault(group, Stranded(*group))
                stranded.count += 1
                if len(stranded.runs) < _EXAMPLES:
                    stranded.runs.append(record.run_id)
    return InFlight(count, [found[group] for group in sorted(found)])


def _known(workflows: Iterable[WorkflowBase]) -> Iterator[tuple[str, WorkflowBase]]:
    for workflow in workflows:
        yield workflow.name, workflow
        yield from _known(child.workflow for child in workflow.graph.children())


async def _why(readying: Readying, workflow: WorkflowBase | None, record: RunRecord) -> tuple[str, ...]:
    if workflow is None:
        return (f"workflow {record.workflow!r} is missing",)
    try:
        await readying.restored(workflow, record)
    except Lacking as lacking:
        return tuple(lacking.what)
    return ()


def _no_options(_: str) -> Mapping[str, Any]:
    return {}
