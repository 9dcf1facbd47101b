"""Failed attempts as they are stored."""

import traceback as tracebacks
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
    told = tracebacks.TracebackException(type(error), error, error.__traceback__, limit=-_FRAMES_MAX, compact=True)
    each: tracebacks.TracebackException | None = told
    while each is not None:
        for frame in each.stack:
            frame.colno = None
        each = each.__cause__ or each.__context__
    return _writable("".join(told.format())[-_TEXT_MAX:])


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
