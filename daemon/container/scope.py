"""The container of one scope: a `svcs.Container` that is safe to ask from many tasks and threads."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

import svcs
from svcs.exceptions import ServiceNotFoundError

from daemon.container.factory import ServiceFactory, name_of
from daemon.errors import DefinitionError, ServiceNotRegisteredError
from daemon.log import get_logger

if TYPE_CHECKING:
    from daemon.container.services import Services


class _NotRegisteredError(ServiceNotRegisteredError, ServiceNotFoundError):
    """Ours, and svcs's own for code that was written for svcs."""


_NotRegisteredError.__name__ = _NotRegisteredError.__qualname__ = ServiceNotRegisteredError.__name__
_NotRegisteredError.__module__ = ServiceNotRegisteredError.__module__  # that is what it is called in logs and errors


_log = get_logger(__name__)
_maker: ContextVar[tuple["Container | None", Any]] = ContextVar("sagad_maker", default=(None, None))


class Container(svcs.Container):
    """A svcs container in which tasks and threads that ask at the same time get the same instance.

    What a factory asks for while it runs is noted, so that a circle is an error and not a deadlock.
    """

    def __init__(self, registry: svcs.Registry, services: "Services") -> None:
        super().__init__(registry)
        self._services = services
        self._locks: dict[Any, asyncio.Lock] = {}
        self._needs: dict[Any, set[Any]] = {}
        self._open: list[tuple[Any, Any]] = []
        self._given: dict[Any, Any] = {}  # what svcs knows as well; to ask it takes six times as long

    def get(self, *wanted: Any) -> Any:
        with self._services.threads:
            found = [self._get_one(each) for each in wanted]
        return found[0] if len(found) == 1 else found

    async def aget(self, *wanted: Any) -> Any:
        if len(wanted) == 1:
            one = wanted[0]
            if one not in self._given:
                self._given[one] = await self._aget_one(one)
            return self._given[one]
        return [await self._aget_one(each) for each in wanted]

    def enter(self, factory: ServiceFactory[..., Any]) -> Any:
        """Make a service, or return what to await for it; what has to be closed is noted once it is made.

        svcs itself notes it before, and would close a service ahead of those that were made from it.
        """
        made = factory.open(self)
        if not factory.yields:
            return made
        if factory.is_async:
            return self._aenter(factory.provides, made)
        service = made.__enter__()
        self._open.append((factory.provides, made))
        return service

    async def _aenter(self, provides: Any, made: Any) -> Any:
        service = await made.__aenter__()
        self._open.append((provides, made))
        return service

    async def aclose(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        while self._open:
            provides, made = self._open.pop()
            try:
                if hasattr(made, "__aexit__"):
                    await made.__aexit__(None, None, None)
                else:
                    made.__exit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - the others have to be closed too
                _log.error("service_not_closed", service=name_of(provides), exc_info=error)
        self._given.clear()
        await super().aclose(exc_type, exc_val, exc_tb)

    def _get_one(self, wanted: Any) -> Any:
        factory = self._made_here(wanted)
        try:
            if factory is None:
                self._prepare(wanted)
                return super().get(wanted)
            _refuse_async(factory)
            self._note_need(wanted)
            with self._making(wanted):
                return super().get(wanted)
        except ServiceNotFoundError as error:
            raise self._explained(error, wanted) from None

    async def _aget_one(self, wanted: Any) -> Any:
        factory = self._made_here(wanted)
        try:
            if factory is None:
                return await super().aget(wanted)
            self._note_need(wanted)
            # While a plain function makes it, nothing is awaited, and other threads have to stay out.
            threads = nullcontext() if factory.is_async else self._services.threads
            async with self._locks.setdefault(wanted, asyncio.Lock()):
                with self._making(wanted), threads:
                    return await super().aget(wanted)
        except ServiceNotFoundError as error:
            raise self._explained(error, wanted) from None

    def _made_here(self, wanted: Any) -> ServiceFactory[..., Any] | None:
        """Return the factory that this container has to call for `wanted`, if it has to."""
        factory = self._services.factories.get(wanted)
        if factory is None or wanted in self or (factory.scope == "app") != (self is self._services.app):
            return None
        return factory

    def _prepare(self, wanted: Any) -> None:
        """Have the daemon's own container make an app-scoped service, where that can be done without awaiting."""
        app, factory = self._services.app, self._services.factories.get(wanted)
        if factory is not None and factory.scope == "app" and wanted not in self and wanted not in app:
            app.get(wanted)

    @contextmanager
    def _making(self, wanted: Any) -> Iterator[None]:
        token = _maker.set((self, wanted))
        try:
            yield
        finally:
            _maker.reset(token)
            self._needs.pop(wanted, None)

    def _note_need(self, wanted: Any) -> None:
        container, maker = _maker.get()
        if container is not self or maker in self:
            return
        self._needs.setdefault(maker, set()).add(wanted)
        reached, ahead = set(), [wanted]
        while ahead:
            needed = ahead.pop()
            if needed == maker:
                raise DefinitionError(
                    f"{name_of(maker)} and {name_of(wanted)} need each other: neither can be made before the other. "
                    "Let one get the other when it is used, not when it is made."
                )
            if needed not in reached:
                reached.add(needed)
                ahead += self._needs.get(needed, ())

    def _explained(self, error: ServiceNotFoundError, wanted: Any) -> ServiceNotFoundError:
        if isinstance(error, ServiceNotRegisteredError):
            return error
        return _NotRegisteredError(wanted, [name_of(each.svc_type) for each in self.registry])


def _refuse_async(factory: ServiceFactory[..., Any]) -> None:
    if factory.is_async:
        raise TypeError(
            f"{name_of(factory.provides)} is made by awaiting ({factory.where}): use `await container.aget(...)`. "
            "A plain function gets it only once it has been made."
        )
