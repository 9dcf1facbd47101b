"""What may be a pure function of values that exist only in a run, as far as it can be told while composing."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from daemon.errors import CompositionError
from daemon.workflow.fitting import check_fits
from daemon.workflow.functions import takes
from daemon.workflow.ref import Ref
from daemon.workflow.signature import hints_of


def check_pure(fn: Any, values: Sequence[tuple[str, Any]], helper: str, said: str, where: str) -> None:
    """Raise `CompositionError` unless `fn` can be called with these values, and gives its result at once.

    Args:
        fn: What was given as the function.
        values: For each, how it is called in the error, and its declared type.
        helper: What calls the function.
        said: What the error says of something that cannot be called.
        where: File and line of the helper's call.
    """
    if not callable(fn) or isinstance(fn, Ref):
        raise CompositionError(f"{where}: {said}")
    if type(fn).__module__.startswith("daemon.workflow"):
        raise CompositionError(f"{where}: {helper} takes a pure function, not {fn!r}; that is recorded by itself.")
    called = fn if inspect.isroutine(fn) or isinstance(fn, type) else type(fn).__call__
    for each in (fn, called):
        if inspect.iscoroutinefunction(each):
            raise CompositionError(
                f"{where}: {helper} takes a pure function, not an async def; what waits belongs into a step."
            )
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            raise CompositionError(f"{where}: {helper} takes a pure function that returns its result, not a generator.")
    _check_parameters(fn, values, helper, where)


def _check_parameters(fn: Callable[..., Any], values: Sequence[tuple[str, Any]], helper: str, where: str) -> None:
    name = getattr(fn, "__name__", type(fn).__name__)
    if not takes(fn, len(values)):
        count = "1 value" if len(values) == 1 else f"{len(values)} values"
        raise CompositionError(
            f"{where}: {helper} gives its function {count}, which {name}{inspect.signature(fn)} does not take."
        )
    if not inspect.isfunction(fn):
        return
    try:
        hints = hints_of(fn)
    except CompositionError:
        return  # what only a type checker knows is needed by nobody here
    for parameter, (subject, type_) in zip(inspect.signature(fn).parameters, values, strict=False):
        what = f"the parameter {parameter!r} of {name}"
        taken = hints.get(parameter, Any)
        check_fits(type_, taken, subject=subject, what=what, where=where, instead="Have it take what it is given")
