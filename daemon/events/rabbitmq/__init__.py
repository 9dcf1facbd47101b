"""RabbitMQ as the bus."""

from daemon.events.rabbitmq.bus import RabbitBus

__all__ = ["RabbitBus"]
