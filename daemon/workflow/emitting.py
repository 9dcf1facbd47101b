"""Events that a composition emits."""

from typing import Any

from daemon.errors import CompositionError, DefinitionError
from daemon.events.model import Event, name_of
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.composer import composing
from daemon.workflow.nodes import EmitNode
from daemon.workflow.ref import Ref
from daemon.workflow.signature import may_be, where_called


def emit(event: Event | Ref[Event], /, *, immediately: bool = False, name: str | None = None) -> None:
    """Stage an event in the run: published after the run has completed, dropped when it rolls back.

    Args:
        event: What happened: `transform(order, lambda o: OrderPlaced(order_id=o.id))`, or an event that is known
            already.
        immediately: Publish it soon, whatever becomes of the run.
        name: What it is called in a run; left out: `emit-1`.

    Raises:
        CompositionError: Outside a composition, or with something else than an event or a ref of one.
    """
    composer = composing("emit", "in a step or a handler, write ctx.emit(event)")
    where = where_called()
    codec = ANY
    given: Any = event
    if isinstance(given, Ref):
        type_ = given._operand.type  # noqa: SLF001 - a ref has no public attributes, so that its user finds none
        if not may_be(type_, Event):
            raise CompositionError(
                f"{where}: emit takes an event, and {given!r} is declared as something else; make one of it: "
                "emit(transform(ref, lambda v: OrderPlaced(order_id=v.id)))."
            )
    elif not isinstance(given, Event):
        hint = f"{given.__name__}(...)" if isinstance(given, type) else "OrderPlaced(order_id=...)"
        raise CompositionError(f"{where}: emit takes an event or the ref of one, not {given!r}: emit({hint}).")
    else:
        try:
            name_of(type(given))
        except DefinitionError as error:
            raise CompositionError(f"{where}: emit: {error}") from None
        codec = Codec(type(given))
    if not isinstance(immediately, bool):
        raise CompositionError(f"{where}: immediately is True or False, not {immediately!r}.")
    named = composer.name_for("emit", name, where, "emit")
    operand = composer.operand(given, codec, f"the event of {named!r}", where)
    composer.block.nodes.append(EmitNode(named, operand, immediately, where))
