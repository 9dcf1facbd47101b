"""Refs: placeholders for values that exist only in a run."""

from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, final

from pydantic import BaseModel
from typing_extensions import TypeVar

from daemon.errors import CompositionError
from daemon.workflow.functions import takes
from daemon.workflow.operand import Slot, path_text, type_at
from daemon.workflow.parts import check_parts
from daemon.workflow.signature import where_called

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
_DEPTH_MAX = 50  # deeper values are refused by the codec


class _PathRecorder:
    """What `pick` hands to its lambda: notes attributes and items, refuses everything else."""

    __slots__ = ("_path", "_ref")

    def __init__(self, ref: "Ref[Any]", path: tuple[tuple[str, Any], ...]) -> None:
        self._ref = ref
        self._path = path

    def __getattr__(self, name: str) -> "_PathRecorder":
        if name.startswith("__"):
            raise AttributeError(name)
        return _PathRecorder(self._ref, (*self._path, (".", name)))

    def __getitem__(self, item: Any) -> "_PathRecorder":
        if not isinstance(item, (int, str)):
            raise CompositionError(
                f"{where_called()}: pick on {self._ref!r} takes an index or a key, not {type(item).__name__}; "
                "compute with transform(ref, lambda v: ...)."
            )
        return _PathRecorder(self._ref, (*self._path, ("[", item)))

    def _refuse(self, *_: Any) -> NoReturn:
        raise CompositionError(
            f"{where_called()}: pick on {self._ref!r} only follows attributes and items (pick(lambda v: v.a[0].b)); "
            "compute with transform(ref, lambda v: ...)."
        )

    if not TYPE_CHECKING:
        __call__ = __bool__ = __iter__ = __len__ = __contains__ = __str__ = __format__ = __await__ = _refuse
        __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse


@final
class Ref(Generic[T_co]):
    """A placeholder for a value that exists only in a run.

    It can be given to steps and helpers, and `pick` reaches into it. Anything else done to it while composing (truth,
    comparison, iteration, formatting, arithmetic, `len`, an attribute, `await`) is a `CompositionError`.
    """

    __slots__ = ("_composer", "_label", "_operand")
    _composer: object
    _label: str
    _operand: Slot

    def __init__(self, composer: object, operand: Slot, label: str) -> None:
        object.__setattr__(self, "_composer", composer)
        object.__setattr__(self, "_operand", operand)
        object.__setattr__(self, "_label", label)

    def pick(self, path: Callable[[T_co], R], /) -> "Ref[R]":
        """Return a ref to an attribute or item of the value: `order.pick(lambda o: o.lines[0].sku)`.

        Raises:
            CompositionError: `path` does anything but follow attributes and items.
        """
        operand = self._operand
        given: Any = path
        if not callable(given) or isinstance(given, Ref) or not takes(given, 1):
            raise CompositionError(
                f"{where_called()}: pick on {self!r} takes a function of one value, not {given!r}: "
                "pick(lambda v: v.id)."
            )
        recorder: Any = _PathRecorder(self, operand.path)
        found: Any = path(recorder)
        if type(found) is not _PathRecorder:
            raise CompositionError(
                f"{where_called()}: pick on {self!r} returns a part of its argument, not {type(found).__name__}; "
                "compute with transform(ref, lambda v: ...)."
            )
        full: tuple[tuple[str, Any], ...] = found._path  # noqa: SLF001 - the recorder is this module's own
        further = full[len(operand.path) :]
        check_parts(operand.type, further, f"pick on {self!r}")
        type_ = type_at(operand.type, further)
        return Ref(self._composer, replace(operand, type=type_, path=full), self._label)

    def __repr__(self) -> str:
        return f"<ref to {self._label}{path_text(self._operand.path)}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self  # a copy of what holds a ref (a default, a model) holds the same one

    if not TYPE_CHECKING:  # the traps: a NoReturn seen by mypy would make it skip the rest of the function

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__"):
                raise AttributeError(name)
            raise CompositionError(_trap(self, f"has no attribute {name!r}", f"ref.pick(lambda v: v.{name})"))

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be changed", "transform(ref, lambda v: ...)"))

        def __delattr__(self, name: str) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be changed", "transform(ref, lambda v: ...)"))

        def __setitem__(self, *_: object) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be changed", "transform(ref, lambda v: ...)"))

        def __bool__(self) -> NoReturn:
            raise CompositionError(_trap(self, "is neither true nor false", "with when(ref, lambda v: ...):"))

        def __getitem__(self, item: object) -> NoReturn:
            raise CompositionError(_trap(self, "has no items", f"ref.pick(lambda v: v[{item!r}])"))

        def __iter__(self) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be looped over", "for_each(ref, step)"))

        def __len__(self) -> NoReturn:
            raise CompositionError(_trap(self, "has no length", "transform(ref, lambda v: len(v))"))

        def __contains__(self, item: object) -> NoReturn:
            raise CompositionError(_trap(self, "contains nothing", "transform(ref, lambda v: ... in v)"))

        def __str__(self) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be formatted", "transform(ref, lambda v: f'... {v}')"))

        def __format__(self, spec: str) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be formatted", "transform(ref, lambda v: f'... {v}')"))

        def __await__(self) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be awaited", "the ref itself: steps wait for each other"))

        def __call__(self, *_: object, **__: object) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be called", "transform(ref, lambda v: ...)"))

        def _compare(self, _: object) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be compared", "with when(ref, lambda v: v == ...):"))

        def _compute(self, *_: object) -> NoReturn:
            raise CompositionError(_trap(self, "cannot be computed with", "transform(ref, lambda v: v + ...)"))

        __delitem__ = __setitem__
        __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compare
        __hash__ = object.__hash__


_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod"
_UNARY = "neg pos abs invert int float complex index round trunc floor ceil bytes reversed fspath"
_BLOCKS = "enter exit aenter aexit aiter next anext"
for _name in [*_OPERATORS.split(), *(f"r{each}" for each in _OPERATORS.split()), *_UNARY.split(), *_BLOCKS.split()]:
    setattr(Ref, f"__{_name}__", Ref._compute)  # type: ignore[attr-defined]  # noqa: SLF001
    setattr(_PathRecorder, f"__{_name}__", _PathRecorder._refuse)  # noqa: SLF001


def _trap(ref: Ref[Any], cannot: str, instead: str) -> str:
    where = where_called()
    return f"{where}: {ref!r} stands for a value that exists only in a run: it {cannot}. Write {instead} instead."


def hidden_ref(value: Any, depth: int = 0) -> Ref[Any] | None:
    """Return a ref inside a container, model or dataclass, if there is one."""
    if isinstance(value, Ref):
        return value
    if depth > _DEPTH_MAX:
        return None
    items: Any = ()
    if isinstance(value, dict):
        items = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        items = value
    elif isinstance(value, BaseModel):
        inside = (value.__dict__, value.__pydantic_extra__ or {}, value.__pydantic_private__ or {})
        items = [item for each in inside for item in each.values()]
    elif is_dataclass(value) and not isinstance(value, type):
        items = [getattr(value, field.name) for field in fields(value)]
    return next((found for item in items if (found := hidden_ref(item, depth + 1)) is not None), None)
