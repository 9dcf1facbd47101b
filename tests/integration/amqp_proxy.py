"""A proxy that understands AMQP, and answers some of what a client asks for instead of the broker."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from pamqp import commands, frame

from tests.integration.proxy import Proxy

Answer = Callable[[commands.Basic.Consume], frame.FrameTypes | None]

_HEADER_BYTES = 8
_CONSUME = b"\x01", b"\x00\x3c\x00\x14"  # a method's frame, and which


def close_connection(code: int, text: str) -> Answer:
    """Answer as a broker that gives up the whole connection."""
    return lambda _: commands.Connection.Close(code, text, 60, 20)


def consume_ok(consume: commands.Basic.Consume) -> frame.FrameTypes:
    """Answer as a broker that consumes."""
    return commands.Basic.ConsumeOk(consume.consumer_tag)


def through(proxy: Proxy) -> str:
    """Return where to connect to through a proxy, with the password that its own address leaves out."""
    parts = urlsplit(proxy.url)
    return urlunsplit(parts._replace(netloc=f"guest:guest@{parts.hostname}:{parts.port}"))


class AmqpProxy(Proxy):
    """Passes on what comes, but for `basic.consume` of the queues in `answers`.

    Attributes:
        answers: By queue, what the client is told instead; the broker hears nothing of it.
        asked: How often each of these queues was asked for.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.answers: dict[str, Answer] = {}
        self.asked: dict[str, int] = {}

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        armed: asyncio.Event,  # noqa: ARG002 - nothing is cut here: `cut_at` is for other protocols
    ) -> None:
        with suppress(asyncio.IncompleteReadError):
            server.write(await reader.readexactly(_HEADER_BYTES))
            while True:
                head = await reader.readexactly(7)
                data = head + await reader.readexactly(int.from_bytes(head[3:]) + 1)
                await self._travel()
                answer = self._answer(data) if (data[:1], data[7:11]) == _CONSUME else None
                if answer is None:
                    server.write(data)
                else:
                    client.write(frame.marshal(answer, _channel(answer, data)))
        await self._travel()
        server.close()

    def _answer(self, data: bytes) -> frame.FrameTypes | None:
        _, _, consume = frame.unmarshal(data)
        assert isinstance(consume, commands.Basic.Consume)
        if consume.queue not in self.answers:
            return None
        self.asked[consume.queue] = self.asked.get(consume.queue, 0) + 1
        return self.answers[consume.queue](consume)


def _channel(answer: frame.FrameTypes, asked: bytes) -> int:
    return 0 if isinstance(answer, commands.Connection.Close) else int.from_bytes(asked[1:3])
