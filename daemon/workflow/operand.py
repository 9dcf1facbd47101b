"""Operands: what stands in a graph for a value that exists only in a run."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from daemon.workflow.codec import Codec, Held


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value that was known while composing."""

    data: bytes
    codec: Codec

    def resolve(self, values: Sequence[Any]) -> Any:  # noqa: ARG002 - the operands' common signature
        """Return the value."""
        return self.codec.decode(self.data)

    def describe(self) -> object:
        """Return what identifies it in a graph."""
        return {"value": self.data.decode()}


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A value that a run puts at `index`, and a path of attributes and items into it.

    Attributes:
        node: Name of the node that makes the value; empty: the workflow's input.
        type: Of the value at the end of the path, as far as it is known.
        block: The block in which it may be used; None: everywhere.
        inside: How much of the path leads to nothing, instead of failing, where the value's block did not run.
    """

    index: int
    node: str
    type: Any
    path: tuple[tuple[str, Any], ...] = ()
    block: object = None
    inside: int = 0

    def resolve(self, values: Sequence[Any]) -> Any:
        """Return the value in a run, as the caller's own copy."""
        value = values[self.index]
        if type(value) is Held:
            value = value.take()
        if not self.path:
            return value
        for how, part in self.path if value is not None else self.path[self.inside :]:
            value = getattr(value, part) if how == "." else value[part]
        return value

    def describe(self) -> object:
        """Return what identifies it in a graph."""
        inside = {"inside": self.inside} if self.inside else {}
        return {"from": self.node, "path": path_text(self.path), **inside}


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A dict, list or tuple of operands: a workflow's structured result."""

    kind: type
    keys: tuple[str, ...]
    items: tuple["Operand", ...]

    def resolve(self, values: Sequence[Any]) -> Any:
        """Return the structure with every value in it resolved."""
        found = [item.resolve(values) for item in self.items]
        return dict(zip(self.keys, found, strict=True)) if self.kind is dict else self.kind(found)

    def describe(self) -> object:
        """Return what identifies it in a graph."""
        return {"kind": self.kind.__name__, "keys": self.keys, "items": [item.describe() for item in self.items]}


Operand = Constant | Slot | Structure


def path_text(path: tuple[tuple[str, Any], ...]) -> str:
    """Return a path as it is written in code: `.lines[0].sku`."""
    return "".join(f".{part}" if how == "." else f"[{part!r}]" for how, part in path)


def path_of(text: str) -> tuple[tuple[str, Any], ...]:
    """Return the path that was written as a text. Raises `ValueError` or `SyntaxError` if it is none."""
    found: list[tuple[str, Any]] = []
    part = ast.parse(f"value{text}", mode="eval").body
    while not isinstance(part, ast.Name):
        if isinstance(part, ast.Attribute):
            found.insert(0, (".", part.attr))
        elif isinstance(part, ast.Subscript):
            found.insert(0, ("[", ast.literal_eval(part.slice)))
        else:
            raise ValueError(text)  # noqa: TRY004 - the text is wrong, not its type
        part = part.value
    return tuple(found)


def type_at(type_: Any, path: Sequence[tuple[str, Any]]) -> Any:
    """Return the declared type at the end of a path of attributes and items, or `Any` where it is not known."""
    for how, part in path:
        if get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
        origin, arguments = get_origin(type_), get_args(type_)
        if how == ".":
            type_ = _attribute_type(type_, part)
        elif (origin in (list, Sequence) and len(arguments) == 1) or (origin is tuple and Ellipsis in arguments):
            type_ = arguments[0]
        elif origin is dict:
            type_ = arguments[1]
        elif origin is tuple and isinstance(part, int) and -len(arguments) <= part < len(arguments):
            type_ = arguments[part]
        else:
            return Any
    return type_


def _attribute_type(type_: Any, name: str) -> Any:
    if not isinstance(type_, type):
        return Any
    if issubclass(type_, BaseModel):  # knows what the parameters of a generic model stand for
        field = type_.model_fields.get(name)
        if field is None:
            return Any
        return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        return get_type_hints(type_, include_extras=True).get(name, Any)
    except (NameError, TypeError):
        return Any
