"""One run while this process drives it: its values, its checkpoints, what failed, and the runs inside it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from daemon.engine.journal import Journal
from daemon.engine.ports import Ports
from daemon.log import get_logger
from daemon.store.model import RunRecord, StepRecord
from daemon.workflow.context import RunScope
from daemon.workflow.rebuilding import Rebuilt
from daemon.workflow.workflow import WorkflowBase

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    import svcs

    from daemon.engine.control import Stop
    from daemon.workflow.graph import Graph
    from daemon.workflow.nodes import StepNode
    from daemon.workflow.run import WorkflowRun

log = get_logger(__name__)
_DEBUG = 10
_NOTHING: Mapping[str, str] = {}
NO_LIMIT = timedelta()


class Standing:
    """What there is of one attempt of a run, or of a child inside it, while this process drives it.

    Attributes:
        parent: The run that it is a step of; None at the top.
        children: The runs that are steps of this one, by the step's name, as far as they were begun.
        graph: What it walks over: the one that it was started with.
        lacks: What the present code does not have of the graph, in words, by the name of the node, or of the handler.
        lost: The names of the handlers among them.
        unread: What is stored and cannot be read by the present code, in words, by the name of the node that gave it.
        passed: The hooks that it was past when another process let go of it.
        calls: The steps that a node became when it was reached, by the node's name, then by what is in their brackets.
        failures: The failed attempts of both phases, by step.
        skips: The steps that failed ones have asked to skip to, and that were not reached yet.
        edited: The JSON of inputs that were edited for this attempt, by the step's name.
        undone: How many steps were undone.
        abreast: Whether members of a parallel group of this run are running.
        emitted: Orders the events that the whole run emitted: the number of the latest; 0 if there was none.
        known: Slots whose stored decisions and results of transforms are in the values.
        resumed: Whether another process began it, and may have left a step half done.
        woken: Whether it was parked here, perhaps for long: it may have been taken over since, unnoticed.
        limit: The timeout that struck.
        sleepers: Whoever waits for a retry; woken when the run begins to fail.
        dormant: Whoever waits for long beside something that goes on; woken when something comes from outside.
        nudges: How often something came from outside for the whole run.
        waiters: Whoever waits for the run, and whether to its end or until it is parked.
        is_debugged: Whether debug lines are written at all.
    """

    __slots__ = (
        "abreast",
        "calls",
        "cause",
        "children",
        "dormant",
        "edited",
        "emitted",
        "errors",
        "failing",
        "failures",
        "graph",
        "is_debugged",
        "journal",
        "known",
        "lacks",
        "limit",
        "lost",
        "nudges",
        "parent",
        "passed",
        "ports",
        "record",
        "resumed",
        "scope",
        "seq",
        "settled",
        "skips",
        "sleepers",
        "steps",
        "stop",
        "task",
        "undone",
        "unread",
        "values",
        "waiters",
        "woken",
        "workflow",
    )

    def __init__(
        self,
        ports: Ports,
        workflow: WorkflowBase,
        record: RunRecord,
        scope: RunScope,
        parent: Self | None = None,
        *,
        rebuilt: Rebuilt | None = None,
    ) -> None:
        self.ports = ports
        self.workflow = workflow
        self.record = record
        self.scope = scope
        self.parent = parent
        self.journal: Journal = Journal(ports, record) if parent is None else parent.journal
        self.children: dict[str, Self] = {}
        self.graph: Graph = workflow.graph if rebuilt is None else rebuilt.graph
        self.lacks: Mapping[str, str] = _NOTHING if rebuilt is None else rebuilt.lacks
        self.lost: frozenset[str] = frozenset()
        self.unread: Mapping[str, str] = _NOTHING
        self.passed: frozenset[str] = frozenset()
        self.values: list[Any] = [None] * self.graph.slots
        self.steps: dict[str, StepRecord] = {}
        self.failures: dict[str, list[dict[str, Any]]] = {}
        self.known: set[int] = set()
        self.calls: dict[str, dict[str, StepNode]] = {}
        self.skips: set[str] = set()
        self.edited: dict[str, bytes] = {}
        self.errors: list[dict[str, Any]] = []
        self.cause: BaseException | None = None
        self.failing = False
        self.abreast = False
        self.emitted = 0
        self.resumed = False
        self.woken = False
        self.settled = False
        self.stop: Stop | None = None
        self.limit = NO_LIMIT
        self.task: asyncio.Task[None] | None = None
        self.seq = 0
        self.undone = 0
        self.sleepers: set[asyncio.Future[None]] = set()
        self.dormant: set[asyncio.Future[None]] = set()
        self.nudges = 0
        self.waiters: list[tuple[asyncio.Future[WorkflowRun[Any]], bool]] = []
        self.is_debugged = log.is_enabled_for(_DEBUG)

    @property
    def top(self) -> Self:
        """The run at the top; it has the task and whoever waits.

        Not kept: a run that points at itself is garbage that only the collector finds, with all that it holds.
        """
        return self if self.parent is None else self.parent.top

    def tree(self) -> "Iterator[Self]":
        """Iterate over this run and all that were begun inside it."""
        yield self
        for child in self.children.values():
            yield from child.tree()

    def give(self, container: "svcs.Container") -> None:
        """Give the steps of the whole tree their services."""
        self.scope.container = container
        for child in self.children.values():
            child.give(container)

    @property
    def is_abreast(self) -> bool:
        """Whether something else of the whole run may be running at the same time."""
        return self.abreast or (self.parent is not None and self.parent.is_abreast)
