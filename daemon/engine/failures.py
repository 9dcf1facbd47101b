"""Failed attempts as they are stored."""

import traceback as tracebacks
from collections import deque
from linecache import getline
from types import TracebackType
from typing import Any

from daemon.workflow.run import IN_DOUBT

INVOKE, COMPENSATE = "invoke", "compensate"
FINAL = "final"  # marks the attempt after which a compensation gave up, before it was taken up again
_TEXT_MAX = 8192
_FRAMES_MAX = 20


def describe_error(error: BaseException, at_us: int) -> dict[str, Any]:
    """Return a failed attempt as it is stored; its text is the application's own."""
    kind = type(error)
    is_known = kind.__module__ in ("builtins", "daemon.errors")
    name = kind.__qualname__ if is_known else f"{kind.__module__}.{kind.__qualname__}"
    return {"at_us": at_us, "type": name, "message": text_of(error), "traceback": _traceback_of(error)}


def _traceback_of(error: BaseException) -> str:
    """Return an exception as Python prints it, without marks below the lines: each would be parsed for them."""
    told = tracebacks.TracebackException(type(error), error, error.__traceback__, limit=0, compact=True)
    pairs: list[tuple[Any, Any]] = [(told, error)]
    for each, of in pairs:  # and what led to it, and what is in it
        each.stack = _stack_of(of.__traceback__)
        if each.__cause__ is not None:
            pairs.append((each.__cause__, of.__cause__))
        if each.__context__ is not None:
            pairs.append((each.__context__, of.__context__))
        if each.exceptions:
            pairs += zip(each.exceptions, of.exceptions, strict=True)
    return _writable("".join(told.format())[-_TEXT_MAX:])


def _stack_of(traceback: TracebackType | None) -> tracebacks.StackSummary:
    """Return the last frames, with the lines of their files as they were first read: no file is asked for again."""
    frames = deque(tracebacks.walk_tb(traceback), _FRAMES_MAX)
    coded = [(frame.f_code, frame.f_globals, number) for frame, number in frames]
    return tracebacks.StackSummary.from_list(
        [
            (code.co_filename, number, code.co_name, getline(code.co_filename, number, globals_))
            for code, globals_, number in coded
        ]
    )


def trimmed(error: BaseException) -> BaseException:
    """Return an exception without the frames of ours that lead to the application's.

    They would keep the run alive as long as the exception, and in a circle: it is kept with the run.
    """
    found = error.__traceback__
    while found is not None and found.tb_next is not None and _is_ours(found):
        found = found.tb_next
    return error.with_traceback(found)


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).startswith("daemon.")


def describe_doubt(step: str, at_us: int) -> dict[str, Any]:
    """Return an attempt of which nobody knows whether it did something."""
    return {"at_us": at_us, "type": IN_DOUBT, "message": f"{step} may have run", "traceback": ""}


def text_of(error: BaseException) -> str:
    """Return what an exception says, even if its own text is broken."""
    try:
        return _writable(str(error)[:_TEXT_MAX])
    except Exception as broken:  # noqa: BLE001 - the application's own __str__
        return f"(its text cannot be had: {type(broken).__name__})"


def _writable(text: str) -> str:
    """Return a text that JSON can take: half a surrogate pair, as in the name of a file, is no Unicode."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
