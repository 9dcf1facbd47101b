"""Another program on the broker: what an application of any language would do there, with pika."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from daemon.events.rabbitmq.topology import TIERS_MS


class Broker:
    """A RabbitMQ, and names on it that nobody else has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app = f"shop-{secrets.token_hex(4)}"
        self.exchange = f"{self.app}-events"

    @property
    def settings(self) -> dict[str, Any]:
        """What an application's configuration says of it."""
        return {"app.name": self.app, "broker.url": self.url, "broker.exchange": self.exchange}

    def publish(self, name: str, body: bytes, **properties: Any) -> None:
        """Publish a message as plain JSON, or as whatever it is, and return once the broker has it."""

        def send(channel: BlockingChannel) -> None:
            channel.confirm_delivery()
            channel.basic_publish(self.exchange, name, body, pika.BasicProperties(**properties), mandatory=True)

        self._on_channel(send)

    def clean(self, subscribers: Iterable[str]) -> None:
        """Remove everything that the application declared."""

        def remove(channel: BlockingChannel) -> None:
            for subscriber in subscribers:
                channel.queue_delete(f"{self.app}.{subscriber}")
                channel.queue_delete(f"{self.app}.{subscriber}.dead")
            for tier in TIERS_MS:
                channel.queue_delete(f"{self.app}.wait.{tier}")
                channel.exchange_delete(f"{self.app}.wait.{tier}")
            channel.exchange_delete(self.exchange)

        self._on_channel(remove)

    def _on_channel(self, work: Callable[[BlockingChannel], object]) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            work(connection.channel())
        finally:
            connection.close()
