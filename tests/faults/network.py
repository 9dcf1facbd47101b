"""The way from the daemons to the broker, which is cut, frozen and slow when a test says so."""

import asyncio
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.integration.proxy import Proxy


class Network:
    """A proxy in a thread of its own, for tests that have no loop."""

    def __init__(self, url: str) -> None:
        self._target = url
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with Proxy(self._target) as self._proxy:
            parts = urlsplit(self._target)
            who, _, _ = parts.netloc.rpartition("@")
            self.url = urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{urlsplit(self._proxy.url).port}"))
            self._up.set()
            await self._over.wait()

    def _tell(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def freeze(self) -> None:
        """Let nothing through; connections stay open."""
        self._tell(self._proxy.freeze)

    def thaw(self) -> None:
        """Let through what was held up."""
        self._tell(self._proxy.thaw)

    def cut(self) -> None:
        """Cut all connections; who connects again is let through."""
        self._tell(self._proxy.cut)

    def refuse(self) -> None:
        """Cut all connections, and let nobody through."""
        self._tell(self._proxy.refuse)

    def accept(self) -> None:
        """Let through who comes."""
        self._tell(self._proxy.accept)

    def delay(self, delay_s: float) -> None:
        """Have everything arrive this much later, in seconds."""
        self._tell(lambda: self._proxy.delay(delay_s))
