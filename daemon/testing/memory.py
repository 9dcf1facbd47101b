"""What an application runs on in a test: a store and a broker in this process, which nobody else knows."""

from typing import TYPE_CHECKING

from daemon.app import App
from daemon.clock import Clock
from daemon.config import Config
from daemon.container import Services
from daemon.discovery import Discovered
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Message
from daemon.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_NEVER_S = 100 * 365 * 86_400.0  # nobody else works on the store, so there is nothing to look for without a hint


class MemoryBus(EmbeddedBus):
    """The embedded bus on a store in memory.

    Attributes:
        sent: What was published, in this order, also what nobody has subscribed to.
        taps: Called with what is published, for those that consume nothing.
    """

    def __init__(self, store: MemoryStore, *, app: str, clock: Clock) -> None:
        super().__init__(store, app=app, owner="test", clock=clock, look_s=_NEVER_S)
        self.sent: list[Message] = []
        self.taps: list[Callable[[Message], Awaitable[None]]] = []

    async def send(self, message: Message) -> bool:
        self.sent.append(message)
        for tap in self.taps:
            await tap(message)
        return await super().send(message)


def in_memory(
    config: Config, discovered: Discovered, *, clock: Clock, services: Services, is_daemon: bool
) -> tuple[App, MemoryBus]:
    """Return an application that is not started yet, and its bus; what is configured of both does not count."""
    store = MemoryStore(clock)
    bus = MemoryBus(store, app=config.app.name, clock=clock)
    embedded = config.model_copy(update={"broker": config.broker.model_copy(update={"url": "embedded://"})})
    app = App(
        embedded,
        discovered,
        is_daemon=is_daemon,
        clock=clock,
        store=store,
        bus=bus,
        services=services,
        look_s=_NEVER_S,
    )
    return app, bus
