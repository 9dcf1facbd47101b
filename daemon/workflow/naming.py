"""Names of workflows: one name is one graph, as long as the workflow lives."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from typing_extensions import TypeVar

from daemon.errors import CompositionError

if TYPE_CHECKING:
    from daemon.workflow.workflow import WorkflowBase

W = TypeVar("W", bound="WorkflowBase")
_defined: "weakref.WeakValueDictionary[str, WorkflowBase]" = weakref.WeakValueDictionary()


def registered(workflow: W) -> W:
    """Keep the workflow in the weak table of names. Raises `CompositionError` for a name with another living graph."""
    if _has_other(workflow):
        gc.collect()  # a former definition may be garbage that nobody collected yet
    other = _defined.get(workflow.name)
    if other is not None and other.graph != workflow.graph:
        raise CompositionError(
            f"Workflow {workflow.name!r} is defined twice with different graphs: at {other.where} and at "
            f"{workflow.where}. Give one of them another name."
        )
    _defined[workflow.name] = workflow
    return workflow


@contextmanager
def names_apart() -> Iterator[None]:
    """Have the workflows that are defined inside the block be another application's; afterwards it is as before."""
    before = dict(_defined)
    _defined.clear()
    try:
        yield
    finally:
        _defined.clear()
        _defined.update(before)


def _has_other(workflow: "WorkflowBase") -> bool:
    other = _defined.get(workflow.name)
    return other is not None and other.graph != workflow.graph
