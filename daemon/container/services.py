"""The registry of services and its two scopes."""

import asyncio
import inspect
import threading
from abc import ABC
from collections.abc import Callable, Iterable
from types import FunctionType, TracebackType
from typing import Any, Generic, Protocol, Self

import svcs

from daemon.container.factory import Ping, ServiceFactory, duplicate_services, name_of
from daemon.container.scope import Container
from daemon.errors import ConfigurationError, DefinitionError, Problem
from daemon.log import get_logger

_PING_TIMEOUT_S = 2.0
_ROOTS = frozenset({object, ABC, Generic, Protocol})
_log = get_logger(__name__)


class Services:
    """The registry of services and its two scopes.

    Args:
        factories: What `@service` marked.

    Raises:
        ConfigurationError: Two factories provide the same type.
    """

    def __init__(self, factories: Iterable[ServiceFactory[..., Any]] = ()) -> None:
        factories = list(factories)
        if problems := duplicate_services(factories):
            raise ConfigurationError(problems)
        self.factories: dict[Any, ServiceFactory[..., Any]] = {}
        self.threads = threading.RLock()  # a step that is a plain function asks from a thread of its own
        self._app_registry = svcs.Registry()
        self._handler_registry = svcs.Registry()
        self._pings: dict[str, tuple[Any, Ping]] = {}
        self.app = Container(self._app_registry, self)
        for factory in factories:
            self._register(factory)

    @classmethod
    def of(cls, *services: object) -> Self:
        """Return the services of a test: instances, and functions marked `@service`.

        An instance is found by its own type, and by each of its base classes that no other one has.

        Raises:
            DefinitionError: A class, or a function that is not marked.
            ConfigurationError: Two of them provide the same type.
        """
        factories = [each for each in services if isinstance(each, ServiceFactory)]
        instances = [each for each in services if not isinstance(each, ServiceFactory)]
        made = cls(factories)
        for value in instances:
            if isinstance(value, (type, FunctionType)):
                hint = "make an instance of it" if isinstance(value, type) else "mark it with @service"
                raise DefinitionError(f"{value.__qualname__} is no service: {hint}.")
            if type(value) in made._app_registry:
                raise ConfigurationError([Problem(name_of(type(value)), "is given twice: keep one of them.")])
            made.register_value(type(value), value)
        bases = [base for value in instances for base in type(value).__mro__[1:] if base not in _ROOTS]
        for value in instances:
            for base in type(value).__mro__[1:]:
                if bases.count(base) == 1 and base not in made._app_registry:
                    made.register_value(base, value)
        return made

    def register_value(self, provides: Any, value: object) -> None:
        """Give out `value` to whoever asks for `provides`; it is not closed here."""
        self._app_registry.register_value(provides, value)
        self._handler_registry.register_value(provides, value)

    def handler_container(self) -> svcs.Container:
        """Return the container of one handler: `async with services.handler_container() as container:`."""
        return Container(self._handler_registry, self)

    async def pings(self, timeout_s: float = _PING_TIMEOUT_S) -> dict[str, bool]:
        """Return which of the services that have a ping are well, by the name of their type.

        Args:
            timeout_s: How long one ping may take, making the service included; in seconds.
        """
        async with self.handler_container() as container, asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(_is_well(container, provides, ping, timeout_s))
                for name, (provides, ping) in self._pings.items()
            }
        return {name: task.result() for name, task in tasks.items()}

    async def aclose(self) -> None:
        """Close the app-scoped services, last made first; one that fails is logged and stops no other."""
        await self.app.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _register(self, factory: ServiceFactory[..., Any]) -> None:
        provides, is_app = factory.provides, factory.scope == "app"
        self.factories[provides] = factory
        if factory.ping is not None:
            name = name_of(provides)
            self._pings[f"{provides.__module__}.{name}" if name in self._pings else name] = (provides, factory.ping)
        maker, other = self._app_registry, self._handler_registry
        if not is_app:
            maker, other = other, maker
        # What a generator function makes is entered by us; other context managers are services like any other.
        maker.register_factory(provides, _enter(factory), enter=False, ping=factory.ping)
        other.register_factory(provides, self._ask_app(provides) if is_app else _refuse(factory), enter=False)

    def _ask_app(self, provides: Any) -> Callable[[], Any]:
        def ask_app() -> Any:
            return self.app.get(provides) if provides in self.app else self.app.aget(provides)

        return ask_app


def _enter(factory: ServiceFactory[..., Any]) -> Callable[[Container], Any]:
    return lambda svcs_container: svcs_container.enter(factory)  # svcs goes by the parameter's name


def _refuse(factory: ServiceFactory[..., Any]) -> Callable[[], Any]:
    def refuse() -> Any:
        raise DefinitionError(
            f"{name_of(factory.provides)} lives as long as one handler ({factory.where}): "
            "a service that lives as long as the daemon cannot hold it."
        )

    return refuse


async def _is_well(container: svcs.Container, provides: Any, ping: Ping, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            result = ping(await container.aget(provides))
            if inspect.isawaitable(result):
                result = await result
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is not well
        _log.warning("service_unwell", service=name_of(provides), exc_info=error)
        return False
    return result is not False
