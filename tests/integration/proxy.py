"""A TCP proxy in front of a server: a test has it cut, freeze and slow connections, and requests arrive late."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Passes on what comes, until it is told not to.

    Attributes:
        cuts: How often `cut_at` and `hold_at` have cut.
    """

    def __init__(self, url: str) -> None:
        self.cuts = 0
        self._target = urlsplit(url)
        self._marker: bytes | None = None
        self._before = False
        self._holds = False
        self._late: tuple[asyncio.StreamWriter, bytes] | None = None
        self._late_answer = asyncio.Event()
        self._is_refusing = False
        self._delay_s = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        name = f"{self._target.username}@" if self._target.username else ""
        self.url = urlunsplit(self._target._replace(netloc=f"{name}127.0.0.1:{port}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut_at(self, marker: bytes, *, before: bool) -> None:
        """Cut all connections when a client sends this: `before` the server gets it, or once it has answered it."""
        self._marker, self._before, self._holds = marker, before, False

    def hold_at(self, marker: bytes) -> None:
        """Cut the connection of a client that sends this, but not what leads from here to the server; see `release`."""
        self._marker, self._before, self._holds = marker, True, True

    async def release(self) -> None:
        """Let the server have what was held, and return once it has answered."""
        assert self._late is not None
        server, data = self._late
        server.write(data)
        await self._late_answer.wait()
        server.transport.abort()

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones."""
        self._is_refusing = True
        self.cut()

    def accept(self) -> None:
        """Accept connections again."""
        self._is_refusing = False

    def freeze(self) -> None:
        """Let nothing through in either direction, not even that one side has closed; connections stay open."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let through what was held up, and what comes."""
        self._flows.set()

    def delay(self, delay_s: float) -> None:
        """Let what comes from either side arrive this much later, in seconds; 0 at once."""
        self._delay_s = delay_s

    def cut(self) -> None:
        """Cut all connections; who connects again is let through."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _travel(self) -> None:
        """Take as long as the network takes at the moment."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._flows.wait()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self._travel()
        return await asyncio.open_connection(self._target.hostname, self._target.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()  # nobody listens there at the moment
            return
        self._writers |= {writer, back}
        answered = asyncio.Event()
        with suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_reset(self._pass_on(reader, back, writer, answered), back))
                group.create_task(self._until_reset(self._pass_back(there, writer, answered), writer))

    async def _until_reset(self, direction: Coroutine[Any, Any, None], to: asyncio.StreamWriter) -> None:
        """Pass on in one direction; when who sends there is gone without closing, so are we for the other side."""
        try:
            await direction
        except ConnectionError:
            await self._flows.wait()
            to.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,  # noqa: ARG002 - for those who answer instead of the server
        armed: asyncio.Event,
    ) -> None:
        while data := await reader.read(65_536):
            await self._travel()
            if self._marker is not None and self._marker in data:
                self._marker = None
                if self._holds:
                    self.cuts += 1
                    self._late = server, data
                    self._writers.remove(server)
                    self.cut()
                    return
                if self._before:
                    self.cuts += 1
                    self.cut()
                    return
                armed.set()
            server.write(data)
        await self._travel()
        server.close()

    async def _pass_back(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, armed: asyncio.Event
    ) -> None:
        while data := await server.read(65_536):
            await self._travel()
            if client.transport.is_closing():
                self._late_answer.set()
                return
            if armed.is_set():
                armed.clear()
                self.cuts += 1
                self.cut()
                return
            client.write(data)
        await self._travel()
        client.close()
