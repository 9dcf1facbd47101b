"""Another program on the broker: what an application of any language would do there, with pika; and the way to it."""

import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel

from daemon.events.rabbitmq.topology import TIERS_MS
from tests.services import free_port


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


class Door:
    """An address of its own that leads to a broker once it is open; until then, nobody listens there."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = parts.hostname or "localhost", parts.port or 5672
        self._port = free_port()
        self._listener: socket.socket | None = None
        who, _, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(
            parts._replace(netloc=f"{who}@127.0.0.1:{self._port}" if who else f"127.0.0.1:{self._port}")
        )

    def open(self) -> None:
        """Let whoever knocks through to the broker."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._let_in, args=[self._listener], daemon=True).start()

    def close(self) -> None:
        """Let nobody through any more; who is through stays."""
        if self._listener is not None:
            self._listener.close()

    def _let_in(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(self._place)
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=[source, target], daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with source, target, suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
