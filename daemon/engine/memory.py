"""The engine that a workflow gets when it is called without a container: in memory, for scripts and unit tests."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import svcs
from svcs.exceptions import ServiceNotFoundError

from daemon.clock import SystemClock
from daemon.engine.driving import Containers
from daemon.engine.engine import WorkflowEngine
from daemon.engine.ports import Ports
from daemon.errors import ServiceNotRegisteredError
from daemon.store.memory import MemoryStore
from daemon.workflow.port import Engine, RunOptions
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

_MAX_PAYLOAD_BYTES = 1_048_576
_PARK_AFTER_S = 30.0
_INSTEAD = (
    "This run has no container: write my_workflow(container).run(...), in a test with memory_container(...) around it."
)


class _Bare(svcs.Registry):
    """The services of a run without a container; whoever asks for another one is told what to write."""

    def get_registered_service_for(self, svc_type: Any) -> svcs.RegisteredService:
        try:
            return super().get_registered_service_for(svc_type)
        except ServiceNotFoundError:
            raise ServiceNotRegisteredError(svc_type, [WorkflowEngine.__name__], _INSTEAD) from None


async def run_alone(workflow: WorkflowBase, value: Any, options: RunOptions) -> WorkflowRun[Any]:
    """Run a workflow on an engine of its own and wait for the end: nobody else could go on with it.

    Its steps find `WorkflowEngine` in their container, and nothing else. A caller that is cancelled leaves the run to
    itself, as everywhere.
    """
    registry = _Bare()

    def container() -> AbstractAsyncContextManager[svcs.Container]:
        return svcs.Container(registry)

    engine = _engine(container)
    registry.register_value(WorkflowEngine, engine)
    registry.register_value(Engine, engine)
    return await engine.execute(workflow, value, replace(options, wait=True))


def memory_engine(container: svcs.Container) -> WorkflowEngine:
    """Return an engine that keeps its runs in memory and gives `container` to their steps."""
    shared = _Shared(container)
    return _engine(lambda: shared)


class _Shared:
    """A container that is somebody else's to close."""

    __slots__ = ("_container",)

    def __init__(self, container: svcs.Container) -> None:
        self._container = container

    async def __aenter__(self) -> svcs.Container:
        return self._container

    async def __aexit__(self, *_: object) -> None:
        """Leave it open."""


def _engine(containers: Containers) -> WorkflowEngine:
    ports = Ports(MemoryStore(), SystemClock(), "local", "local", _MAX_PAYLOAD_BYTES, _PARK_AFTER_S, alone=True)
    return WorkflowEngine(ports, containers=containers)
