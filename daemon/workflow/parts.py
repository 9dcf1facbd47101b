"""What `pick` can reach, as far as the declared types tell."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_origin

from pydantic import BaseModel

from daemon.errors import CompositionError, did_you_mean
from daemon.workflow.adapters import type_name
from daemon.workflow.operand import type_at
from daemon.workflow.signature import where_called

Path = Sequence[tuple[str, Any]]  # of attributes and items


def check_parts(type_: Any, path: Path, what: str) -> None:
    """Raise `CompositionError` for an attribute that a model, dataclass or named tuple does not have."""
    for at, (how, part) in enumerate(path):
        owner = type_at(type_, path[:at])
        owner = get_origin(owner) or owner
        if how == "." and isinstance(owner, type) and part not in (known := set(_attributes(owner))) and known:
            hint = did_you_mean(part, known - set(dir(BaseModel)))
            raise CompositionError(f"{where_called()}: {what}: {type_name(owner)} has no attribute {part!r}.{hint}")


def _attributes(owner: type) -> Iterator[str]:
    """Iterate over the names of all attributes that an object can have; over none if that is not known."""
    declared: Iterable[str] = ()
    is_open = hasattr(owner, "__getattr__")
    if issubclass(owner, BaseModel):
        is_open = owner.model_config.get("extra") == "allow" or "__getattr__" in _defined_below(owner)
        declared = (*owner.model_fields, *owner.__private_attributes__)
    elif dataclasses.is_dataclass(owner):
        is_open = is_open or hasattr(owner, "__post_init__")  # which may set what it likes
        declared = [field.name for field in dataclasses.fields(owner)]
    elif not issubclass(owner, tuple):
        is_open = True
    if not is_open:
        yield from (*declared, *dir(owner))


def _defined_below(model: type[BaseModel]) -> set[str]:
    """Return the names of what the classes of a model define that are not the validation library's."""
    return {name for each in model.__mro__[: model.__mro__.index(BaseModel)] for name in vars(each)}
