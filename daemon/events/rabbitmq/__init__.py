"""RabbitMQ as the bus."""

from daemon.events.rabbitmq.bus import RabbitEventBus

__all__ = ["RabbitEventBus"]
