"""The bus that needs no broker: queues in the store, shared by every process on it."""

from daemon.events.embedded.bus import EmbeddedBus

__all__ = ["EmbeddedBus"]
