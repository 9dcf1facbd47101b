"""What can be told of a function: its name after a reload, its code after an edit, whether it needs a task; pure."""

import dis
import hashlib
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

_SEND = dis.opmap["SEND"]
_ASKS_FOR_TASKS = frozenset({"current_task", "all_tasks"})


def function_name(fn: Callable[..., Any]) -> str:
    """Return a function's module and qualified name: what makes it the same function after a reload."""
    module = getattr(fn, "__module__", None) or type(fn).__module__  # a method of a built-in type has none
    return f"{module}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def needs_task(fn: Callable[..., Any]) -> bool:
    """Tell whether a function may wait for something in the event loop, or ask for its task.

    All do but async ones that await nothing: they end in the turn in which they begin, whoever's that is.
    """
    code = getattr(fn, "__code__", None)
    if code is None or not inspect.iscoroutinefunction(fn):
        return True
    if not _ASKS_FOR_TASKS.isdisjoint(code.co_names):
        return True
    return _SEND in code.co_code[::2]  # an instruction is two bytes, and every kind of await comes down to this one


def takes(fn: Callable[..., Any], count: int) -> bool:
    """Tell whether a function can be called with so many values; yes, if it is a built-in one that does not tell."""
    try:
        signature = inspect.signature(fn)
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def code_hash(fn: Callable[..., Any]) -> str:
    """Return a hash of a function's compiled code, without file names and line numbers; empty if it has none."""
    code = getattr(fn, "__code__", None)
    return hashlib.sha256(_code_text(code).encode()).hexdigest()[:16] if code is not None else ""


def _code_text(code: CodeType) -> str:
    constants = map(_constant_text, code.co_consts)
    return "\x00".join([code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars])


def _constant_text(item: object) -> str:
    if isinstance(item, CodeType):
        return _code_text(item)
    if isinstance(item, frozenset):  # its order differs from process to process
        return f"{{{', '.join(sorted(map(_constant_text, item)))}}}"
    return f"({', '.join(map(_constant_text, item))},)" if isinstance(item, tuple) else repr(item)
