"""`@service`: marks the factory of a service, and says what it makes."""

import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, overload

import svcs

from daemon.errors import DefinitionError, Problem

P = ParamSpec("P")
R = TypeVar("R")

Scope = Literal["app", "handler"]
Ping = Callable[[Any], object]

_YIELDING = (Iterator, Iterable, Generator, AsyncIterator, AsyncIterable, AsyncGenerator)


class ServiceFactory(Generic[P, R]):
    """A function that makes a service, as `@service` marked it; calling it calls the function.

    Attributes:
        function: The function itself.
        provides: The type that it makes, and by which a container is asked for it.
        scope: `app`: one as long as the daemon lives; `handler`: one for each handler.
        ping: Called with the service in every readiness check; raises, or returns False, when it is not well.
        is_async: Whether it can only be made by awaiting.
        yields: Whether it yields the service, and closes it after the `yield`.
        where: File and line of the function.
    """

    def __init__(self, function: Callable[P, R], *, scope: Scope, ping: Ping | None) -> None:
        bare = inspect.unwrap(function)
        code = bare.__code__
        self.where = f"{code.co_filename}:{code.co_firstlineno}"
        self.name = bare.__qualname__
        self.function = function
        self.scope = scope
        self.ping = ping
        self.yields = inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare)
        self.is_async = inspect.iscoroutinefunction(bare) or inspect.isasyncgenfunction(bare)
        self._check()
        self.provides = self._provided()
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<service {self.name} of {name_of(self.provides)} at {self.where}>"

    def open(self, container: svcs.Container) -> Any:
        """Return the service, something to await for it, or the context manager that holds it."""
        function: Any = self.function
        if inspect.isgeneratorfunction(function):
            function = contextmanager(function)
        elif inspect.isasyncgenfunction(function):
            function = asynccontextmanager(function)
        return function(container) if self.takes_container else function()

    def _check(self) -> None:
        if self.scope not in ("app", "handler"):
            raise DefinitionError(f"{self._here} has the scope {self.scope!r}; it is 'app' or 'handler'.")
        if self.ping is not None and not callable(self.ping):
            raise DefinitionError(f"{self._here} has a ping that cannot be called: give it a function of the service.")

    def _provided(self) -> Any:
        hints = self._hints()
        required = [
            name
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if len(required) > 1 or (required and hints.get(required[0]) is not svcs.Container):
            raise DefinitionError(
                f"{self._here} takes {', '.join(required)}: a factory takes nothing or one svcs.Container. "
                "Annotate it so, and get what it needs from there."
            )
        provided = hints.get("return")
        if self.yields:
            arguments = get_args(provided) if get_origin(provided) in _YIELDING else ()
            provided = arguments[0] if arguments else None
        if provided in (None, type(None), Any, object):
            example = "AsyncIterator[Stock]" if self.is_async else "Iterator[Stock]"
            raise DefinitionError(
                f"{self._here} does not say what it makes: annotate what it returns, "
                f"such as -> {example if self.yields else 'Stock'}."
            )
        self.takes_container = bool(required)
        return provided

    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise DefinitionError(
                f"{self._here} has an annotation that is not there at run time: {error}. "
                "Import it outside of `if TYPE_CHECKING:`."
            ) from None

    @property
    def _here(self) -> str:
        return f"@service on {self.name} ({self.where})"


@overload
def service(function: Callable[P, R], /) -> ServiceFactory[P, R]: ...


@overload
def service(*, scope: Scope = "app", ping: Ping | None = None) -> Callable[[Callable[P, R]], ServiceFactory[P, R]]: ...


def service(function: Callable[..., Any] | None = None, /, *, scope: Scope = "app", ping: Ping | None = None) -> Any:
    """Mark a function as the factory of a service, known by its return type.

    The function takes nothing or one `svcs.Container`. It may be `async def`, and a generator: what it yields is the
    service, and what follows closes it. What a plain function returns is given out as it is, never entered or closed.

    Args:
        function: The function, where the decorator is used without arguments.
        scope: `app`: made at first use, closed when the daemon stops, in reverse order of making; `handler`: the same
            for each handler.
        ping: A plain or async function of the service for the readiness check; the service is well unless it raises
            or returns False.

    Raises:
        DefinitionError: The return type is missing, or the parameters are not those of a factory.
    """
    if function is None:
        return lambda function: ServiceFactory(function, scope=scope, ping=ping)
    return ServiceFactory(function, scope=scope, ping=ping)


def duplicate_services(factories: Sequence[ServiceFactory[..., Any]]) -> list[Problem]:
    """Return one problem per factory whose type an earlier one provides already."""
    first: dict[Any, ServiceFactory[..., Any]] = {}
    problems = []
    for factory in factories:
        other = first.setdefault(factory.provides, factory)
        if other is not factory:
            what = f"{factory.name} provides {name_of(factory.provides)}, and so does {other.where}: keep one of them."
            problems.append(Problem(factory.where, what))
    return problems


def name_of(provides: Any) -> str:
    """Return how a type is called in messages."""
    return getattr(provides, "__qualname__", None) or repr(provides)
