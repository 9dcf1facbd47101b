"""Calls with too many arguments, or too few, told in the words of what is called."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from daemon.errors import CompositionError
from daemon.workflow.signature import where_called


def in_words(method: Callable[..., Any], takes: str) -> Callable[..., Any]:
    """Return a method whose wrong use is a `CompositionError` instead of Python's `TypeError`.

    Args:
        method: Of something that has a name.
        takes: What the error says; `{}` stands for that name.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        try:
            signature.bind(self, *given, **named)
        except TypeError:
            raise CompositionError(f"{where_called()}: {takes.format(repr(self.name))}.") from None
        return method(self, *given, **named)

    return call
