"""Another program, in another language for all that we know: it publishes with pika, and confirmed is confirmed."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

_AGAIN_S = 0.1
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it tells of every attempt at length


class Publisher:
    """Publishes each order until the broker has confirmed it, with the same id, whatever happens meanwhile.

    Args:
        url: The broker itself: what is between it and the daemons is not our affair.

    Attributes:
        again: How often it had to be tried again.
        trouble: Why, the last time.
    """

    def __init__(self, url: str, exchange: str) -> None:
        self.again = 0
        self.trouble = ""
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 0
        self._parameters.blocked_connection_timeout = 2
        self._parameters.socket_timeout = 5
        self._exchange = exchange
        self._channel: BlockingChannel | None = None
        self._lock = threading.Lock()

    def publish(self, name: str, order: dict[str, Any], *, within_s: float = 60) -> bool:
        """Return once the broker has confirmed it, or false if it has not within this time."""
        deadline_s = time.monotonic() + within_s
        properties = pika.BasicProperties(message_id=order["id"], delivery_mode=2, app_id="till")
        body = json.dumps(order).encode()
        with self._lock:
            while time.monotonic() < deadline_s:
                try:
                    self._open().basic_publish(self._exchange, name, body, properties, mandatory=True)
                except (AMQPError, OSError) as error:
                    self.again, self.trouble = self.again + 1, repr(error)
                    self._close()
                    time.sleep(_AGAIN_S)
                else:
                    return True
        return False

    def close(self) -> None:
        """Leave."""
        with self._lock:
            self._close()

    def _open(self) -> BlockingChannel:
        if self._channel is None or self._channel.is_closed:
            self._channel = pika.BlockingConnection(self._parameters).channel()
            self._channel.confirm_delivery()
        return self._channel

    def _close(self) -> None:
        if self._channel is not None:
            with suppress(AMQPError, OSError):
                self._channel.connection.close()
        self._channel = None


@contextmanager
def repeating(work: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Do something again and again, in a thread, inside the block; what it raises is raised at the end."""
    over = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while not over.wait(every_s):
                work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            failures.append(error)

    thread = threading.Thread(target=loop, name="traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]
