"""Whether a value of one declared type may stand where another is declared, as far as their classes tell."""

import dataclasses
import enum
import types
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from pydantic import BaseModel

from daemon.errors import CompositionError
from daemon.workflow.adapters import type_name

_KNOWN = (
    *(int, float, str, bytes, bool, list, tuple, set, frozenset, dict, types.NoneType),
    *(datetime, date, time, timedelta, Decimal, UUID),
)
_TRANSFORM = "Convert it in a run: transform(ref, lambda v: ...)"
_CONTAINERS = (list, set, frozenset, dict)


def fits(given: Any, wanted: Any) -> bool:
    """Tell whether every value of the type `given` may be one of the type `wanted`; yes, if that is not known.

    A subclass may stand for its base, and a base for its subclass, since a run may have just that; an int for a float.
    What a model accepts besides its own instances does not count: a value is taken as what it is.
    """
    options = list(options_of(wanted))
    return all(any(_may_be(each, option) for option in options) for each in options_of(given))


def _without_none_fits(given: Any, wanted: Any) -> bool:
    rest = [each for each in options_of(given) if each is not types.NoneType]
    return bool(rest) and fits(Union[tuple(rest)], wanted)  # noqa: UP007 - known at run time


def options_of(type_: Any) -> Iterator[Any]:
    """Iterate over the types of which a value has one."""
    origin = get_origin(type_)
    if origin is Annotated:
        yield from options_of(get_args(type_)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(type_):
            yield from options_of(option)
    elif origin is Literal:
        yield from {type(value) for value in get_args(type_)}
    elif isinstance(type_, NewType):
        yield from options_of(type_.__supertype__)
    else:
        yield types.NoneType if type_ is None else type_


def _may_be(given: Any, wanted: Any) -> bool:
    kind, other = known_class(given), known_class(wanted)
    if kind is None or other is None or (issubclass(kind, int) and other is float):
        return True
    if not issubclass(kind, other) and not issubclass(other, kind):
        return False
    items, others = get_args(given), get_args(wanted)
    if kind is other and kind in _CONTAINERS and len(items) == len(others):
        return all(map(fits, items, others))
    return True


def known_class(type_: Any) -> type | None:
    """Return the class of a type's values if it is one of which is known what may stand for it, else None."""
    kind = get_origin(type_) or type_
    if is_typeddict(kind):
        return dict
    if not isinstance(kind, type):
        return None
    if kind in _KNOWN or dataclasses.is_dataclass(kind) or issubclass(kind, (BaseModel, enum.Enum)):
        return kind
    return kind if issubclass(kind, tuple) else None


def check_fits(given: Any, wanted: Any, *, subject: str, what: str, where: str, instead: str = _TRANSFORM) -> None:
    """Raise `CompositionError` unless `subject`, of the type `given`, may be used as `what`, of the type `wanted`."""
    if fits(given, wanted):
        return
    shown = type_name(wanted)
    if _without_none_fits(given, wanted):
        raise CompositionError(
            f"{where}: {subject} may be None, and {what} is declared as {shown}. Declare that as {shown} | None, or "
            f"{instead[0].lower()}{instead[1:]}."
        )
    raise CompositionError(f"{where}: {subject} is declared as {type_name(given)}, and {what} as {shown}. {instead}.")
