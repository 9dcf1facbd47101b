"""The HTTP server: uvicorn's protocol in the daemon's own event loop, without its signal handlers and its ticking."""

import asyncio
from http import HTTPStatus

import h11
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from daemon.http.address import BACKLOG, Address
from daemon.http.problem import ProblemResponse
from daemon.log import get_logger

_HEADERS_MAX_BYTES = 32 * 1024
_CONNECTIONS_MAX = 1_000
_KEEP_ALIVE_S = 15
log = get_logger(__name__)


class HttpServer:
    """Serves an ASGI application: listens as soon as it is started.

    Args:
        app: What to serve.
        address: Where; taken if it is not yet, and released when the server is closed.
        grace_s: How long requests may go on once the server is closed, in seconds.
    """

    def __init__(self, app: ASGIApp, address: Address, *, grace_s: float = 3.0) -> None:
        self._address = address
        self._grace_s = grace_s
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._config = Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            workers=1,
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=_HEADERS_MAX_BYTES,
        )
        self._config.load()

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        return self._address.port

    async def start(self) -> None:
        """Accept connections.

        Raises:
            OSError: Nothing can listen there; says where, why, and what to do.
        """
        loop = asyncio.get_running_loop()
        for each in await self._address.take():
            self._servers.append(await loop.create_server(self._connection, sock=each, backlog=BACKLOG))
        log.info("http_listening", host=self._address.host, port=self._address.port)

    async def aclose(self) -> None:
        """Take nothing more; answer what is going on within the grace time, then cut it off."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self._grace_s)
        for connection in list(self._state.connections):
            connection.transport.abort()
        self._address.release()

    def _connection(self) -> asyncio.Protocol:
        return _Protocol(self._config, self._state, {})


class _Protocol(H11Protocol):
    """Uvicorn's, with limits for a connection that says nothing, and its errors in the API's form."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        response = ProblemResponse(HTTPStatus.BAD_REQUEST, "This is no HTTP request, or its headers are too long.")
        headers = [*response.raw_headers, (b"connection", b"close")]
        events = h11.Response(status_code=response.status_code, headers=headers), h11.Data(data=bytes(response.body))
        for event in (*events, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
