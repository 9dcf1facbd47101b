"""`memory_container`: an engine in memory and the services of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import svcs

from daemon.clock import Clock, SystemClock
from daemon.config import Config
from daemon.container import Services
from daemon.discovery import Discovered
from daemon.events.model import Message, event_of
from daemon.testing.memory import in_memory


@asynccontextmanager
async def memory_container(*services: object, clock: Clock | None = None) -> AsyncIterator[svcs.Container]:
    """Give a test a container whose engine keeps its runs in memory until the block ends.

    `WorkflowEngine` and `EventBus` are in it, too; what is published has no subscribers, but reaches the workflows
    that wait for it. A run that is going on when the block ends is cancelled, and not undone.

    Args:
        services: Instances, each found by its own type and by those base classes that no other one has; and functions
            marked `@service`.
        clock: What retries, timeouts and timers wait on; by default the machine's.

    Raises:
        DefinitionError: A class, or a function that is not marked.
        ConfigurationError: Two of the services provide the same type.
    """
    app, bus = in_memory(
        Config(app={"name": "local"}),
        Discovered(),
        clock=clock or SystemClock(),
        services=Services.of(*services),
        is_daemon=False,
    )

    async def take(message: Message) -> None:
        model = app.engine.incoming.models().get(message.envelope.name)
        if model is not None:
            await app.engine.take_event(event_of(model, message.body), message.envelope)

    bus.taps.append(take)
    try:
        await app.start()
        async with app.services.handler_container() as container:
            yield container
    finally:
        await app.aclose()
