"""Workflows as steps of others."""

from typing import TYPE_CHECKING, Any

from daemon.workflow.codec import ANY
from daemon.workflow.composer import composing
from daemon.workflow.nodes import ChildNode
from daemon.workflow.ref import Ref
from daemon.workflow.signature import check_identity, where_called

if TYPE_CHECKING:
    from daemon.workflow.workflow import WorkflowBase


def add_child(workflow: "WorkflowBase", name: str | None, *argument: Any) -> Ref[Any]:
    """Record a workflow as a step of the one that is being composed, with its argument if it takes one."""
    value = "value" if argument else ""
    composer = composing(
        f"as_step of workflow {workflow.name!r}", f"elsewhere, run it: await the_workflow(container).run({value})"
    )
    where = where_called()
    named = workflow.name if name is None else check_identity("step", name)
    composer.claim(
        named, where, f'{where}: give one of them another name: my_workflow.as_step(..., name="{named}-again")'
    )
    graph = workflow.graph
    what = f"the input of workflow {workflow.name!r}"
    operand = composer.take(argument[0], graph.input or ANY, what, where) if argument else None
    node = ChildNode(named, composer.new_slot(), operand, workflow, where)
    return composer.record(node, graph.result_type, f"the result of workflow {named!r}")
