"""What may be looped over, and by what."""

from collections.abc import Sequence
from types import NoneType
from typing import Any, get_origin

from daemon.errors import CompositionError
from daemon.workflow.definition import BoundStep
from daemon.workflow.fitting import options_of
from daemon.workflow.ref import Ref


def check_loop(items: object, step: object, concurrency: object, where: str) -> None:
    """Raise `CompositionError` unless these can be the arguments of `for_each`, as far as their types are known."""
    if not isinstance(items, Ref):
        raise CompositionError(
            f"{where}: for_each takes the ref of a list, not {type(items).__name__}; over what is known while "
            "composing, loop with for, and give each use of the step its own name."
        )
    if not isinstance(step, BoundStep):
        found = type(step).__name__
        raise CompositionError(f"{where}: for_each takes a step, uncalled, not {found}: for_each(items, my_step).")
    if step.definition.arity == 0:
        raise CompositionError(f"{where}: for_each gives every item to step {step.name!r}, which takes no input.")
    if type(concurrency) is not int or concurrency < 1:
        raise CompositionError(f"{where}: concurrency is a number of items, 1 or more, not {concurrency!r}.")
    type_: Any = items._operand.type  # noqa: SLF001 - a ref has no public attributes, so that its user finds none
    for option in options_of(type_):
        kind = get_origin(option) or option
        if kind in (Any, object) or not isinstance(kind, type):
            continue
        if kind is NoneType:
            raise CompositionError(f"{where}: {items!r} may be None; write transform(ref, lambda v: v or []).")
        if not issubclass(kind, Sequence) or kind in (str, bytes):
            raise CompositionError(
                f"{where}: {items!r} is no list but a value of {kind.__name__}; pick or transform a list of it."
            )
