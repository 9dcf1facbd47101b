"""Where the API listens; known, and taken, before what serves it is imported."""

import asyncio
import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

BACKLOG = 512
# A name may have an address that this machine has not, such as ::1 without IPv6; then the others do.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Address:
    """A host and a port of this machine.

    Args:
        host: A name or an address; all addresses of a name are listened on.
        port: 0 lets the system choose one.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._taken = ExitStack()
        self._sockets: list[socket.socket] = []

    async def take(self) -> list[socket.socket]:
        """Return sockets that listen, for whoever accepts their connections; `port` is then the real one.

        Connections wait in them until somebody does. Taken once more, they are the same.

        Raises:
            OSError: Nothing can listen there; says where, why, and what to do.
        """
        if not self._sockets:
            loop = asyncio.get_running_loop()
            try:
                where = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            except OSError as error:
                raise self._refused(error) from error
            with ExitStack() as undo:
                found = [undo.enter_context(each) for each in self._bound((each[0], each[4][0]) for each in where)]
                self._taken, self._sockets = undo.pop_all(), found
        return self._sockets

    def release(self) -> None:
        """Let others have it."""
        self._taken.close()
        self._sockets = []

    def _bound(self, addresses: Iterable[tuple[int, object]]) -> Iterator[socket.socket]:
        """Yield a listening socket for every address, all on one port, which becomes `port`."""
        missing: OSError | None = None
        bound = False
        for family, host in addresses:
            try:
                opened = socket.create_server((str(host), self.port), family=family, backlog=BACKLOG)
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
