"""What an application writes: a subscriber, which is a handler bound to events."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, overload

import svcs
from structlog.typing import FilteringBoundLogger

from daemon.config.model import SubscriberOverride
from daemon.errors import DefinitionError
from daemon.events.bus import Subscription
from daemon.events.definition import bindings_of, check_annotation, check_id, check_options, takes_context_of
from daemon.events.model import Envelope, Event
from daemon.retry import Retry

_RETRY = Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4, jitter=0.2)

P = ParamSpec("P")
# What a handler gets: an event, a union of events, or a dict.
T = TypeVar("T")
A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
D = TypeVar("D", bound=Event)


class SubscriberContext:
    """What a subscriber's handler gets beside the event.

    Attributes:
        container: The services of this handling.
        event: The event's envelope: its id, name, time, source, correlation and causation.
        attempt: The first is 1.
        options: The table `[options.<subscriber id>]` of config.toml.
        log: A logger whose lines name the subscriber, the event and the attempt.
    """

    __slots__ = ("_emit", "attempt", "container", "event", "log", "options")

    def __init__(
        self,
        *,
        container: svcs.Container,
        event: Envelope,
        attempt: int,
        options: Mapping[str, Any],
        log: FilteringBoundLogger,
        emit: Callable[[Event, bool], None],
    ) -> None:
        self.container = container
        self.event = event
        self.attempt = attempt
        self.options = options
        self.log = log
        self._emit = emit

    def emit(self, event: Event, *, immediately: bool = False) -> None:
        """Stage an event: it is published when the handler returns, and dropped when it raises.

        Args:
            event: What happened.
            immediately: Publish it even if the handler fails afterwards; a repetition of this attempt after a
                crash publishes it again, with the same id.

        Raises:
            DefinitionError: The event's class has no name.
            CodecError: It has no JSON form; names the field.
            PayloadTooLargeError: It is above `max_payload_bytes`.
        """
        self._emit(event, immediately)


@dataclass(frozen=True, slots=True, eq=False)
class Subscriber(Generic[P]):
    """A handler bound to events. Called like the function that it was made of, it is that function.

    Attributes:
        id: Its identity in the broker, the store and the configuration; kebab-case.
        patterns: The event names, or topic patterns, that its queue is bound to.
        models: The class of each event by name; empty for patterns, whose handlers get a dict.
        handler: The decorated function.
        takes_context: Whether the handler wants the context.
        retry: What happens when the handler raises.
        concurrency: How many events it handles at one time in a process.
        timeout: The handler is cancelled after this time; None never.
        ordered: One at a time across all daemons, in queue order.
        file: Where it was defined.
        line: Where in that file, from 1.
    """

    id: str
    patterns: tuple[str, ...]
    models: Mapping[str, type[Event]]
    handler: Callable[P, Awaitable[object]]
    takes_context: bool
    retry: Retry
    concurrency: int
    timeout: timedelta | None
    ordered: bool
    file: str
    line: int

    @property
    def where(self) -> str:
        """Its place, as `file:line`."""
        return f"{self.file}:{self.line}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[object]:
        """Call the bare function, for unit tests."""
        return self.handler(*args, **kwargs)

    def subscription(self, prefetch: int) -> Subscription:
        """Return what it wants from the bus; `prefetch` is raised to its concurrency, and 1 if it is ordered."""
        most = 1 if self.ordered else max(prefetch, self.concurrency)
        return Subscription(self.id, self.patterns, most, self.ordered, min(most, self.concurrency))


class SubscriberDecorator(Generic[T]):
    """Makes a subscriber of a handler that takes the event, or the event and the context."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Any], Subscriber[Any]]) -> None:
        self._make = make

    @overload
    def __call__(
        self, handler: Callable[[T, SubscriberContext], Awaitable[object]], /
    ) -> Subscriber[[T, SubscriberContext]]: ...
    @overload
    def __call__(self, handler: Callable[[T], Awaitable[object]], /) -> Subscriber[[T]]: ...
    def __call__(self, handler: Any, /) -> Any:
        return self._make(handler)


@overload
def subscriber(
    event: type[A],
    /,
    *,
    id: str | None = None,
    retry: Retry = ...,
    concurrency: int = ...,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[A]: ...
@overload
def subscriber(
    first: type[A],
    second: type[B],
    /,
    *,
    id: str | None = None,
    retry: Retry = ...,
    concurrency: int = ...,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[A | B]: ...
@overload
def subscriber(
    first: type[A],
    second: type[B],
    third: type[C],
    /,
    *,
    id: str | None = None,
    retry: Retry = ...,
    concurrency: int = ...,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[A | B | C]: ...
@overload
def subscriber(
    first: type[A],
    second: type[B],
    third: type[C],
    fourth: type[D],
    /,
    *more: type[Event],
    id: str | None = None,
    retry: Retry = ...,
    concurrency: int = ...,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[Any]: ...
@overload
def subscriber(
    pattern: str,
    /,
    *more: str,
    id: str | None = None,
    retry: Retry = ...,
    concurrency: int = ...,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[dict[str, Any]]: ...
def subscriber(
    *events: Any,
    id: str | None = None,
    retry: Retry = _RETRY,
    concurrency: int = 10,
    timeout: timedelta | None = None,
    ordered: bool = False,
) -> SubscriberDecorator[Any]:
    """Make an `async def` function that takes `(event, ctx)` or `(event)` a subscriber.

    Args:
        events: Event classes; or patterns, in which a word may be `*` (one word) or `#` (any number of words). A
            pattern's handler gets the payload as a dict.
        id: Names its queue; by default the function's name in kebab-case.
        retry: What happens when the handler raises; then the event is dead-lettered.
        concurrency: How many events it handles at one time in a process.
        timeout: The handler is cancelled after this time, which counts as a failure; None never.
        ordered: One event at a time across all daemons, in queue order; a retry waits in place.

    Raises:
        DefinitionError: Something is wrong with the events, the options or the function; with its name and place.
    """

    def make(handler: Any) -> Subscriber[Any]:
        function = inspect.unwrap(handler) if callable(handler) else handler
        if not inspect.isfunction(function):
            raise DefinitionError(f"@subscriber decorates an async def function, not {handler!r}.")
        code = function.__code__
        label = function.__name__.strip("_").replace("_", "-").lower() if id is None else id
        try:
            check_id(label)
            check_options(retry, concurrency, timeout)
            patterns, models = bindings_of(events)
            takes_context = takes_context_of(handler)
            check_annotation(function, models)
        except DefinitionError as error:
            place = f"subscriber {label!r} ({code.co_filename}:{code.co_firstlineno})"
            raise DefinitionError(f"{place}: {error}") from error
        return Subscriber(
            id=label,
            patterns=patterns,
            models=models,
            handler=handler,
            takes_context=takes_context,
            retry=retry,
            concurrency=1 if ordered else concurrency,
            timeout=timeout,
            ordered=ordered,
            file=code.co_filename,
            line=code.co_firstlineno,
        )

    if len(events) == 1 and inspect.isfunction(events[0]):
        raise DefinitionError(f"@subscriber needs an event: write @subscriber(OrderPlaced) above {events[0].__name__}.")
    return SubscriberDecorator(make)


def overridden(subscriber: Subscriber[P], override: SubscriberOverride | None) -> Subscriber[P] | None:
    """Return a subscriber as `[subscribers.<id>]` of config.toml changes it; None if that turns it off."""
    if override is None:
        return subscriber
    if not override.enabled:
        return None
    wider = override.concurrency is not None and not subscriber.ordered
    return replace(
        subscriber,
        retry=override.retry_over(subscriber.retry),
        concurrency=override.concurrency if wider and override.concurrency else subscriber.concurrency,
        timeout=subscriber.timeout if override.timeout_s is None else timedelta(seconds=override.timeout_s),
    )
