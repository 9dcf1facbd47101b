"""The HTTP server: uvicorn's protocol in the daemon's own event loop, without its signal handlers and its ticking."""

import asyncio
import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
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
# A name may have an address that this machine has not, such as ::1 without IPv6; then the others do.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
log = get_logger(__name__)


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
        try:
            where = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise self._refused(error) from error
        with ExitStack() as undo:
            listening = [undo.enter_context(each) for each in self._bound((each[0], each[4][0]) for each in where)]
            for each in listening:
                server = await loop.create_server(self._connection, sock=each, backlog=_BACKLOG)
                undo.callback(server.close)
                self._servers.append(server)
            undo.pop_all()
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

    def _bound(self, addresses: Iterable[tuple[int, object]]) -> Iterator[socket.socket]:
        """Yield a listening socket for every address, all on one port, which becomes `port`."""
        missing: OSError | None = None
        bound = False
        for family, host in addresses:
            try:
                opened = socket.create_server((str(host), self.port), family=family, backlog=_BACKLOG)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise self._refused(error) from error
                missing = error
                continue
            # Connections inherit it. Head and body are two writes: the second would wait for the client, 40 ms.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bound = True
            self.port = opened.getsockname()[1]
            yield opened
        if not bound and missing is not None:
            raise self._refused(missing) from missing

    def _refused(self, error: OSError) -> OSError:
        why = (error.strerror or str(error)).partition(" (")[0]  # in brackets it would say once more where
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
