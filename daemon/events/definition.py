"""What a subscriber may be: every check that @subscriber makes before there is one.

Each raises a `DefinitionError` that says what is wrong and what to write instead; the decorator adds who and where.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from daemon.errors import DefinitionError
from daemon.events.model import Event, name_of
from daemon.events.patterns import check_pattern
from daemon.retry import Retry

RESERVED_IDS = frozenset({"workflows", "wait", "unrouted"})  # queues of our own have these names

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ID_MAX = 100


def check_id(id: str) -> None:
    """Refuse a subscriber's id that is not kebab-case, or that names a queue of sagad's own.

    Raises:
        DefinitionError: It does, or is longer than 100 characters.
    """
    if not isinstance(id, str) or len(id) > _ID_MAX or not _ID.fullmatch(id):
        kebab = "-".join(re.findall(r"[a-z0-9]+", str(id).lower()))[:_ID_MAX]
        hint = f" Write {kebab!r}." if kebab else ""
        raise DefinitionError(f"its id is kebab-case of at most {_ID_MAX} characters, not {id!r}.{hint}")
    if id in RESERVED_IDS:
        taken = ", ".join(sorted(RESERVED_IDS))
        raise DefinitionError(
            f"the id {id!r} is reserved ({taken}): it names a queue of sagad's own. Pass another id=."
        )


def check_options(retry: object, concurrency: object, timeout: object) -> None:
    """Refuse options that are out of their range, with what to write instead."""
    if not isinstance(retry, Retry):
        raise DefinitionError(f"retry is a Retry, not {retry!r}: write retry=Retry(max_attempts=3).")
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise DefinitionError(f"concurrency is 1 or more, not {concurrency!r}.")
    if timeout is not None and (not isinstance(timeout, timedelta) or timeout <= timedelta(0)):
        raise DefinitionError(f"timeout is a timedelta above zero, or None for no limit, not {timeout!r}.")


def bindings_of(events: tuple[Any, ...]) -> tuple[tuple[str, ...], dict[str, type[Event]]]:
    """Return the patterns of what a subscriber was given, and the class of each event by name; none for patterns."""
    if not events:
        raise DefinitionError("it subscribes to nothing: write @subscriber(OrderPlaced) or @subscriber('order.*').")
    if all(isinstance(event, str) for event in events):
        try:
            return tuple(dict.fromkeys(check_pattern(event) for event in events)), {}
        except ValueError as error:
            raise DefinitionError(str(error)) from None
    models: dict[str, type[Event]] = {}
    for event in events:
        if isinstance(event, str):
            raise DefinitionError(f"it mixes event classes with the pattern {event!r}: write two subscribers.")
        if not (isinstance(event, type) and issubclass(event, Event)):
            raise DefinitionError(f"{event!r} is no event: write a class that derives from Event, or a pattern.")
        name = name_of(event)
        if models.setdefault(name, event) is not event:
            raise DefinitionError(f"{models[name].__qualname__} and {event.__qualname__} are both named {name!r}.")
    return tuple(models), models


def takes_context_of(handler: Callable[..., object]) -> bool:
    """Tell whether a handler takes `(event, ctx)`, and not `(event)` alone."""
    if not inspect.iscoroutinefunction(handler):
        raise DefinitionError("its handler is not async: write async def.")
    signature = inspect.signature(handler)
    for arguments in ((object(), object()), (object(),)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) > 1
    raise DefinitionError(f"its handler takes (event, ctx) or (event), not {signature}.")


def check_annotation(function: Callable[..., object], models: Mapping[str, type[Event]]) -> None:
    """Refuse a first parameter whose annotation cannot hold what the handler gets; what is not seen is not judged."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # a name that is imported for type checkers alone
        return
    annotation = hints.get(next(iter(inspect.signature(function).parameters)), Any)
    union = get_origin(annotation) in (Union, UnionType)
    kinds = [get_origin(kind) or kind for kind in (get_args(annotation) if union else (annotation,))]
    if Any in kinds or not all(isinstance(kind, type) and not is_typeddict(kind) for kind in kinds):
        return
    for given in models.values() or (dict,):
        if not issubclass(given, tuple(kinds)):
            what = f"an event of {given.__qualname__}" if models else "a dict, because it subscribes to a pattern"
            raise DefinitionError(f"its handler gets {what}, but its first parameter is annotated {annotation!r}.")
