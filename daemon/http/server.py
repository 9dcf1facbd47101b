"""The HTTP server: uvicorn's protocol in the daemon's own event loop, without its signal handlers and its ticking."""

import asyncio
import socket
from http import HTTPStatus

import h11
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from daemon.http.problem import ProblemResponse
from daemon.log import get_logger

_HEADERS_MAX_BYTES = 32 * 1024
_CONNECTIONS_MAX = 1_000
_KEEP_ALIVE_S = 15
_BACKLOG = 512
log = get_logger("sagad.http")


class HttpServer:
    """Serves an ASGI application: listens as soon as it is started.

    Args:
        app: What to serve.
        host: A name or an address; all addresses of a name are listened on.
        port: 0 lets the system choose one.
        grace_s: How long requests may go on once the server is closed, in seconds.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, grace_s: float = 3.0) -> None:
        self.host = host
        self.port = port
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

    async def start(self) -> None:
        """Listen, and accept connections; `port` is then the real one.

        Raises:
            OSError: Nothing can listen there; says where, why, and what to do.
        """
        self._config.load()
        loop = asyncio.get_running_loop()
        listening = await self._listen()
        self.port = listening[0].getsockname()[1]
        for each in listening:
            self._servers.append(await loop.create_server(self._connection, sock=each, backlog=_BACKLOG))
        log.info("http_listening", host=self.host, port=self.port)

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

    def _connection(self) -> asyncio.Protocol:
        return _Protocol(self._config, self._state, {})

    async def _listen(self) -> list[socket.socket]:
        """Return a listening socket for every address of the host, all on one port."""
        loop = asyncio.get_running_loop()
        opened: list[socket.socket] = []
        trouble: OSError | None = None
        try:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise self._refused(error) from error
        for family, _, _, _, address in found:
            port = opened[0].getsockname()[1] if opened else self.port
            try:
                opened.append(socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG))
            except OSError as error:
                trouble = error
        # A name may have an address that this machine has not (::1 without IPv6); then the others do.
        if not opened or (trouble is not None and isinstance(trouble, PermissionError)):
            raise self._refused(trouble) from trouble
        return opened

    def _refused(self, error: OSError | None) -> OSError:
        why = error.strerror if error is not None else "the name has no address"
        return OSError(f"http: cannot listen on {self.host} port {self.port}: {why}. Change http.host or http.port.")


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
