"""Composing: calling a plain function once, and recording what it does as a graph."""

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any, TypeVarTuple, Union, get_args, get_origin, overload

from pydantic import ValidationError
from typing_extensions import TypeVar

from daemon.errors import CompositionError
from daemon.workflow.adapters import type_name
from daemon.workflow.branch import Branch
from daemon.workflow.codec import ANY
from daemon.workflow.composer import Composer, composing, composition
from daemon.workflow.fitting import check_fits, known_class
from daemon.workflow.graph import Graph
from daemon.workflow.group import add_parallel
from daemon.workflow.operand import Slot
from daemon.workflow.ref import Ref
from daemon.workflow.signature import accepts_none, bare, codec_for, hints_of, is_applications, relative, where_defined
from daemon.workflow.step import Step

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def compose(name: str, fn: Callable[..., Any], *, takes_input: bool, parameter: str) -> Graph:
    """Call a composition once and return the graph that it recorded.

    Raises:
        CompositionError: It does something that no run could do.
    """
    where = where_defined(fn)
    hints = hints_of(fn)
    composer = Composer(name)
    if takes_input:
        _check_is_ref(hints.get(parameter, Any), parameter, fn)
    input_type = _inside_ref(hints.get(parameter, Any)) if takes_input else None
    input_codec = codec_for(input_type, fn, "the input") if takes_input else None
    arguments: list[Ref[Any]] = [Ref(composer, Slot(0, "", input_type), "the workflow's input")] if takes_input else []
    with _composition_of(composer, where):
        returned = fn(*arguments)
        result = composer.result(returned, where)
    _check_returns(hints.get("return", Any), returned, fn)
    returns = _inside_ref(hints.get("return", Any))
    if isinstance(result, Slot) and returns is Any:
        returns = result.type
    if result is None and not accepts_none(returns):
        raise CompositionError(f"{where}: {fn.__name__} declares a result and returns none; return the ref of it.")
    if isinstance(result, Slot):
        check_fits(result.type, returns, subject=repr(returned), what=f"the result of {fn.__name__}", where=where)
    codec = codec_for(returns, fn, "the result") if isinstance(result, Slot) else ANY
    return composer.graph(input_codec, result, codec)


@contextmanager
def _composition_of(composer: Composer, where: str) -> Iterator[None]:
    if composition.get() is not None:
        raise CompositionError(
            f"{where}: workflow {composer.workflow!r} is defined while another one is being composed; "
            "define it at module level."
        )
    token = composition.set(composer)
    try:
        yield
    except ValidationError as error:
        raise (_ref_in_a_model(error) or error) from None
    finally:
        composition.reset(token)


def _ref_in_a_model(error: ValidationError) -> CompositionError | None:
    """Return what to say if a model refused a ref, or None if it refused something else."""
    for item in error.errors(include_url=False):
        if isinstance(item.get("input"), Ref):
            field = ".".join(map(str, item["loc"]))
            return CompositionError(
                f"{_raised_at(error)}: the field {field!r} of a {error.title} was given {item['input']!r}. Build the "
                f"model in a run: transform(ref, lambda v: {error.title}({field}=v))."
            )
    return None


def _raised_at(error: BaseException) -> str:
    """Return file and line of the innermost frame of an exception that is not the validation library's."""
    found = "?"
    for frame, line in walk_tb(error.__traceback__):
        if is_applications(frame):
            found = f"{relative(frame.f_code.co_filename)}:{line}"
    return found


def _check_is_ref(type_: Any, parameter: str, fn: Callable[..., Any]) -> None:
    type_ = bare(type_)
    if type_ is not Any and type_ is not Ref and get_origin(type_) is not Ref:
        shown = type_name(_inside_ref(type_))
        raise CompositionError(
            f"{where_defined(fn)}: the parameter {parameter!r} of {fn.__name__} is annotated as {shown}, and is a ref: "
            f"a composition is called once, when no value is there yet. Write {parameter}: Ref[{shown}]."
        )


def _check_returns(type_: Any, returned: object, fn: Callable[..., Any]) -> None:
    kind = known_class(type_)
    if returned is not None and (kind is types.NoneType or (isinstance(returned, Ref) and kind is not None)):
        hint = "..." if kind is types.NoneType else type_name(type_)
        raise CompositionError(
            f"{where_defined(fn)}: {fn.__name__} is annotated to return {hint.replace('...', 'None')}, and returns "
            f"{returned!r}. Write -> Ref[{hint}]."
        )


def _inside_ref(type_: Any) -> Any:
    type_ = bare(type_)
    if get_origin(type_) in (Union, types.UnionType):
        return Union[tuple(map(_inside_ref, get_args(type_)))]  # noqa: UP007 - known at run time
    if get_origin(type_) is Ref:
        return get_args(type_)[0]
    return Any if type_ is Ref else type_


@overload
def transform(a: Ref[A], fn: Callable[[A], R], /, *, name: str | None = None) -> Ref[R]: ...
@overload
def transform(a: Ref[A], b: Ref[B], fn: Callable[[A, B], R], /, *, name: str | None = None) -> Ref[R]: ...
@overload
def transform(a: Ref[A], b: Ref[B], c: Ref[C], fn: Callable[[A, B, C], R], /, *, name: str | None = None) -> Ref[R]: ...
@overload
def transform(
    a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D], fn: Callable[[A, B, C, D], R], /, *, name: str | None = None
) -> Ref[R]: ...
@overload
def transform(
    a: Ref[A],
    b: Ref[B],
    c: Ref[C],
    d: Ref[D],
    e: Ref[E],
    fn: Callable[[A, B, C, D, E], R],
    /,
    *,
    name: str | None = None,
) -> Ref[R]: ...
def transform(*args: Any, name: str | None = None) -> Any:
    """Record a pure function of one to five refs; its result is a ref, too.

    It is evaluated once in a run. An exception in it fails the run and names the transform.

        label = transform(order, driver, lambda o, d: f"{o.id} by {d}")

    Args:
        args: The refs, and last the function, which takes their values in this order.
        name: What it is called in a run; left out: `transform-1`.

    Raises:
        CompositionError: Outside a composition, without refs, or without a function.
    """
    composer = composing("transform", "elsewhere, call the function itself")
    return composer.add_transform(args[:-1], args[-1] if args else None, name)  # type: ignore[arg-type]


def parallelize(*refs: *Ts, name: str | None = None) -> tuple[*Ts]:
    """Run the steps that these refs are the results of at the same time; return the refs, in the order given.

    A loop or another workflow as a step counts as a step. They are undone at the same time, too. What they need that is
    no argument runs before the group.

        charge, label = parallelize(charge_card(order), print_label(order))

    Args:
        refs: The results of steps of this block, at least one.
        name: What the group is called in the graph; left out: `parallel-1`.

    Raises:
        CompositionError: An argument is no step's result, or something recorded before the call needs a member.
    """
    add_parallel(composing("parallelize", "elsewhere, use an asyncio.TaskGroup"), refs, name)
    return refs


def when(ref: Ref[A], predicate: Callable[[A], bool], /, *, name: str | None = None) -> Branch:
    """Begin a block that runs only if the predicate holds.

    Written `with when(order, lambda o: o.is_large) as large:`. The predicate is evaluated once in a run, and what it
    said is stored. An exception in it fails the run and names the condition. Outside the block, a value made in it is
    read as `large.output(ref)`; `with large.otherwise() as small:` begins the other case.

    Args:
        ref: Whose value is looked at.
        predicate: A pure function of it; its result counts as true or false.
        name: What it is called in a run; left out: `when-1`.

    Raises:
        CompositionError: Outside a composition, without a ref, or without a plain function.
    """
    return composing("when", "elsewhere, use if").add_when(ref, predicate, name)


def for_each(items: Ref[Sequence[A]] | Ref[list[A]], step: Step[A, R, Any], *, concurrency: int = 10) -> Ref[list[R]]:
    """Call a step once for each item of a list that is known only in a run; return the outputs, in the items' order.

    Every call is a step of its own, `step[0]`, `step[1]`, ...: stored, retried and undone by itself. In a rollback all
    of them are undone at the same time.

    Args:
        items: The list.
        step: What is called; it takes an item.
        concurrency: How many calls may run at the same time.

    Raises:
        CompositionError: Outside a composition, without a ref of a list, or without a step that takes an input.
    """
    return composing("for_each", "elsewhere, use for").add_loop(items, step, concurrency)
