"""What a decorated function takes and returns, read once when it is decorated."""

import inspect
import re
import sys
import types
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Never, NoReturn, Union, get_args, get_origin, get_type_hints

from daemon.errors import CodecError, CompositionError
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.context import StepContext

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_MAX = 100
LONGEST = timedelta(days=365 * 100)


def where_defined(fn: Callable[..., Any]) -> str:
    """Return file and line of a definition, as `workflows/place_order.py:12` seen from the current folder."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if code is None:
        return getattr(fn, "__module__", "?")
    return f"{relative(code.co_filename)}:{code.co_firstlineno}"


def where_called() -> str:
    """Return file and line of the innermost caller that is the application's own: its composition, or its decorator."""
    frame = inspect.currentframe()
    while frame is not None and not is_applications(frame):
        frame = frame.f_back
    return f"{relative(frame.f_code.co_filename)}:{frame.f_lineno}" if frame is not None else "?"


def is_applications(frame: FrameType) -> bool:
    """Tell whether a frame is neither the workflow language's nor of a library through which a ref or model passes."""
    module = frame.f_globals.get("__name__", "")
    package = module.partition(".")[0]
    return not module.startswith("daemon.workflow") and package != "pydantic" and package not in sys.stdlib_module_names


def relative(filename: str) -> str:
    """Return a path as seen from the current folder, or its last two parts if it lies elsewhere."""
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(Path(*path.parts[-2:]))


def check_identity(kind: str, name: object) -> str:
    """Return `name` if it is kebab-case and at most 100 characters.

    Raises:
        CompositionError: It is not; suggests one that is.
    """
    if not isinstance(name, str):
        said = f'write @{kind}("{_kebab(name.__name__)}")' if inspect.isroutine(name) else f"{name!r} is none"
        raise CompositionError(f"{where_called()}: a {kind} needs a name: {said}.")
    if len(name) > _NAME_MAX or _NAME.fullmatch(name) is None:
        hint = _kebab(name)
        raise CompositionError(
            f"{where_called()}: {name[:_NAME_MAX]!r} is no name for a {kind}: use at most {_NAME_MAX} lower-case "
            "letters, digits and single dashes" + (f", like {hint!r}." if _NAME.fullmatch(hint) else ".")
        )
    return name


def check_label(name: object, where: str) -> None:
    """Raise `CompositionError` unless it can be the name of what is no step: `step[0]` is an item of a loop."""
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_MAX or not name.isprintable() or set(name) & set("[]"):
        raise CompositionError(
            f"{where}: name is a text of 1 to {_NAME_MAX} printable characters without brackets, not {name!r:.100}."
        )


def check_time(value: object, what: str, where: str) -> None:
    """Raise `CompositionError` unless a time that may be left out is a timedelta above zero and at most 100 years."""
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise CompositionError(f"{where}: {what} is a timedelta, not {value!r}: write timedelta(seconds=...).")
    if not timedelta(0) < value <= LONGEST:
        raise CompositionError(
            f"{where}: {what} is above zero and at most 100 years, not {value}; leave it out for none."
        )


def _kebab(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")[:_NAME_MAX]


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's resolved annotations, with what `Annotated` says of their values.

    Raises:
        CompositionError: One names a type that does not exist when the module runs.
    """
    try:
        return get_type_hints(fn, include_extras=True)
    except (NameError, AttributeError) as error:
        raise CompositionError(
            f"{where_defined(fn)}: the annotation {error.name!r} of {fn.__name__} is not known when the module runs. "
            "Import it at run time: outside `if TYPE_CHECKING:`, and at module level."
        ) from None


def parameters_of(fn: Callable[..., Any], kind: str, *, most: int, shape: str) -> list[inspect.Parameter]:
    """Return a function's positional parameters.

    Raises:
        CompositionError: It is no function, or takes something else than `shape` says.
    """
    if not inspect.isroutine(fn):
        found = f"the class {fn.__name__}" if isinstance(fn, type) else f"a {type(fn).__name__}"
        raise CompositionError(f"{where_called()}: a {kind} is made of a function, not of {found}.")
    parameters = list(inspect.signature(fn).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needless = [p for p in parameters if p not in positional and p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    variadic = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    if variadic or needless or len(positional) > most:
        raise CompositionError(
            f"{where_defined(fn)}: {fn.__name__}{inspect.signature(fn)} does not fit a {kind}, which takes {shape}."
        )
    return positional


def function_parameters(fn: Callable[..., Any], kind: str, shape: str) -> list[inspect.Parameter]:
    """Return the parameters of a function that a run calls: at most a value and a context.

    Raises:
        CompositionError: It is no function, a generator, or takes something else than `shape` says.
    """
    parameters = parameters_of(fn, kind, most=2, shape=shape)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise CompositionError(
            f"{where_defined(fn)}: {kind} {fn.__name__} is a generator, which would do nothing when it is called; "
            "write it without yield."
        )
    if parameters and hints_of(fn).get(parameters[0].name) is StepContext:
        raise CompositionError(f"{where_defined(fn)}: {fn.__name__} takes its context first; a {kind} takes {shape}.")
    return parameters


def codec_for(type_: Any, fn: Callable[..., Any], what: str) -> Codec:
    """Return the codec of a declared type.

    Raises:
        CompositionError: The type has no JSON form.
    """
    if type_ in (Any, inspect.Parameter.empty, NoReturn, Never):  # what never returns has no value to store
        return ANY
    try:
        return Codec(type_)
    except CodecError as error:
        raise CompositionError(f"{where_defined(fn)}: {what} of {fn.__name__}: {error}") from None


def codec_or_any(type_: Any) -> Codec:
    """Return the codec of a type, or that of `Any` if the type has no JSON form."""
    try:
        return Codec(type_)
    except CodecError:
        return ANY


def may_be(type_: Any, kind: type) -> bool:
    """Tell whether every value of a declared type may be one of `kind`, as far as the type is known."""
    type_ = bare(type_)
    if get_origin(type_) in (Union, types.UnionType):
        return all(may_be(option, kind) for option in get_args(type_))
    plain = get_origin(type_) or type_
    if plain in (Any, object) or not isinstance(plain, type):
        return plain is not None
    return issubclass(plain, kind) or plain.__module__.startswith("pydantic")  # AwareDatetime stands for datetime


def bare(type_: Any) -> Any:
    """Return a type without what `Annotated` says of it."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def accepts_none(type_: Any) -> bool:
    """Tell whether a declared type takes None: `X | None`, `None`, `Any`, `object`, or no declaration."""
    type_ = bare(type_)
    if type_ in (Any, object, None, types.NoneType, inspect.Parameter.empty):
        return True
    return get_origin(type_) in (Union, types.UnionType) and any(accepts_none(option) for option in get_args(type_))
