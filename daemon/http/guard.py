"""Stands in front of the whole API: who may ask, how much a request may hold, and what happens to a lost error."""

import asyncio
import secrets
from contextlib import suppress
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.clock import Clock
from daemon.config.url import is_loopback
from daemon.http.ports import ApiPorts
from daemon.http.problem import RETRY, ProblemResponse, Refusal
from daemon.log import get_logger

PROBES = frozenset({"/livez", "/readyz"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REST_S = 5.0
_REST_MAX_BYTES = 64 * 1024 * 1024
_STOPPING = "The daemon is stopping. What was started goes on when it is back: ask again, with the same id."
_AWAY = "The daemon's store takes no writes at the moment, so nothing new is begun. Ask again, with the same id."
log = get_logger(__name__)


class Guard:
    """ASGI middleware that refuses what may not in, before anything of it is looked at.

    With a token: everything but the probes needs it. Without one: the request must name this machine, or a host of
    `http.allowed_hosts`, since the name of a web page that was made to resolve to loopback is another. And always:
    what changes something must not come from another web page, with or without a body.

    A body is counted while it comes in. While the daemon drains, nothing is changed any more, nor while the store is
    away: it would keep the request waiting for as long.
    """

    def __init__(self, app: ASGIApp, ports: ApiPorts) -> None:
        self._app = app
        self._token = ports.http.token.encode()
        self._hosts = frozenset(host.lower() for host in ports.http.allowed_hosts)
        self._max_body_bytes = ports.max_payload_bytes
        self._clock = ports.clock
        self._draining = ports.draining
        self._away = ports.away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a websocket is refused by not being answered: nothing here would check it
        headers = Headers(scope=scope)
        exchange = _Exchange(receive, send, self._clock, self._max_body_bytes, waits="expect" in headers)
        try:
            app = self._refused(scope, headers) or self._app
            await app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # Only the server's end cancels a request, and has nobody to answer the client if not this.
            if exchange.answered:
                raise
            refusal = ProblemResponse(HTTPStatus.SERVICE_UNAVAILABLE, _STOPPING, headers=RETRY)
            await refusal(scope, receive, exchange.send)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            if exchange.answered:
                raise
            detail = "Something went wrong here; the daemon's log says what."
            await ProblemResponse(HTTPStatus.INTERNAL_SERVER_ERROR, detail)(scope, receive, exchange.send)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["path"] not in PROBES:
            if self._token:
                if not self._is_authorized(headers):
                    return ProblemResponse(
                        HTTPStatus.UNAUTHORIZED,
                        "Send the token of http.token: Authorization: Bearer TOKEN.",
                        headers={"www-authenticate": "Bearer"},
                    )
            elif not self._is_known(headers.getlist("host")):
                return ProblemResponse(
                    HTTPStatus.FORBIDDEN,
                    "The Host of this request is no name of this machine: add it to http.allowed_hosts.",
                )
        if scope["method"] not in _READING:
            if not _is_own(headers):
                return ProblemResponse(HTTPStatus.FORBIDDEN, "Another web page may not change anything here.")
            if why := self._why_not_now(scope["path"]):
                return ProblemResponse(HTTPStatus.SERVICE_UNAVAILABLE, why, headers=RETRY)
        if int(headers.get("content-length", "0")) > self._max_body_bytes:
            return ProblemResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _limit(self._max_body_bytes))
        return None

    def _why_not_now(self, path: str) -> str:
        if self._draining():
            return _STOPPING
        return _AWAY if self._away(path) else ""

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # Latin-1 is what headers were decoded with, so this cannot fail.
        return scheme.lower() == "bearer" and secrets.compare_digest(token.strip().encode("latin-1"), self._token)

    def _is_known(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return False
        host = hosts[0].lower()
        name = _place(f"//{host}", 0)[0]
        return bool(name) and (is_loopback(name) or name in self._hosts or host in self._hosts)


class _Exchange:
    """One request and its answer: the body is counted, and what all answers have is added to this one.

    A client that is cut off while it sends never reads the answer, so the rest of its body is read before: within
    limits, and unless it waits to be told to send one.
    """

    def __init__(self, receive: Receive, send: Send, clock: Clock, max_body_bytes: int, *, waits: bool) -> None:
        self._receive = receive
        self._send = send
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._size_bytes = 0
        self._is_sending = not waits
        self.answered = False

    async def receive(self) -> Message:
        message = await self._next()
        if self._size_bytes > self._max_body_bytes:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _limit(self._max_body_bytes))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._read_rest()
            self.answered = True
            headers = MutableHeaders(scope=message)
            headers["date"] = format_datetime(self._clock.now(), usegmt=True)
            headers["cache-control"] = "no-store"
            headers["x-content-type-options"] = "nosniff"
        await self._send(message)

    async def _next(self) -> Message:
        message = await self._receive()
        self._is_sending = message.get("more_body", False)
        self._size_bytes += len(message.get("body", b""))
        return message

    async def _read_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                while self._is_sending and self._size_bytes < _REST_MAX_BYTES:
                    await self._next()


def _limit(max_body_bytes: int) -> str:
    return f"A request holds at most {max_body_bytes:,} bytes (daemon.max_payload_bytes)."


def _is_own(headers: Headers) -> bool:
    """Tell whether a request comes from no web page, or from one of this very host and port."""
    origins = headers.getlist("origin")
    if not origins:
        return True
    hosts = headers.getlist("host")
    origin = origins[0].lower()
    scheme = origin.partition("://")[0]
    if len(origins) != 1 or len(hosts) != 1 or scheme not in _DEFAULT_PORTS:
        return False
    port = _DEFAULT_PORTS[scheme]
    place = _place(origin, port)
    return bool(place[0]) and place == _place(f"//{hosts[0].lower()}", port)


def _place(address: str, default_port: int) -> tuple[str, int]:
    """Return host and port of an address; an empty host if it is none."""
    try:
        parts = urlsplit(address)
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return "", 0
        return parts.hostname or "", parts.port or default_port
    except ValueError:
        return "", 0
