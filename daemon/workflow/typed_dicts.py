"""Typed dicts of Python's own `typing`, for a validation library that takes those of Python 3.12 and newer alone."""

import types
import typing
from functools import lru_cache
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions


def portable(type_: Any) -> Any:
    """Return the type with a twin in the place of every typed dict of which some Python versions tell too little."""
    if is_typeddict(type_):
        return _twin(type_) if type(type_).__module__ == typing.__name__ else type_
    arguments = get_args(type_)
    found = tuple(map(portable, arguments))
    if all(new is old for new, old in zip(found, arguments, strict=True)):
        return type_
    origin = get_origin(type_)
    if origin is Annotated:
        return Annotated[(found[0], *type_.__metadata__)]
    return Union[found] if origin is types.UnionType else origin[found]  # noqa: UP007 - known at run time


_begun: set[type] = set()


@lru_cache(maxsize=4096)
def _twin(kind: Any) -> Any:
    if kind in _begun:  # it contains itself
        return kind
    _begun.add(kind)
    try:
        hints = get_type_hints(kind, include_extras=True)
        fields = {name: _field(hint, required=name in kind.__required_keys__) for name, hint in hints.items()}
    finally:
        _begun.discard(kind)
    make: Any = typing_extensions.TypedDict
    twin = make(kind.__name__, fields)
    for name in ("__module__", "__qualname__", "__doc__", "__pydantic_config__"):
        if hasattr(kind, name):
            setattr(twin, name, getattr(kind, name))
    return twin


def _field(hint: Any, *, required: bool) -> Any:
    """Return a field's type; what is written there is right also where annotations are texts, as `required` is not."""
    if get_origin(hint) in (Required, NotRequired):
        required, hint = get_origin(hint) is Required, get_args(hint)[0]
    return Required[portable(hint)] if required else NotRequired[portable(hint)]
