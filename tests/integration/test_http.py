"""The API on a real socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.http.address import Address
from daemon.http.server import HttpServer
from daemon.log import captured_log
from tests.unit.http.conftest import LIMIT_BYTES, WITHIN_S, Shop

LOCAL = "127.0.0.1"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    opened = Shop()
    await opened.start()
    yield opened
    await opened.aclose()


@asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[HttpServer]:
    server = HttpServer(app, Address(LOCAL, 0), **options)
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shop.api()) as server, client_of(server) as opened:
        yield opened


def client_of(server: HttpServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{LOCAL}:{server.port}", timeout=WITHIN_S)


async def ask_raw(server: HttpServer, request: bytes) -> tuple[bytes, Any]:
    """Send bytes, and return the head of the answer and its body."""
    reader, writer = await asyncio.open_connection(LOCAL, server.port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), WITHIN_S)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, json.loads(body)


async def test_a_run_and_an_event_are_answered(shop: Shop, client: httpx.AsyncClient) -> None:
    run = await client.post("/api/workflows/sell-something/runs", json={"input": {"sku": "tea"}, "run_id": "o:1@x"})
    event = await client.post("/api/events", json={"name": "customer.created", "data": {"id": "c1"}})

    assert (run.status_code, run.json()["result"]) == (200, {"text": "one tea"})
    assert (await client.get("/api/runs/o:1@x")).json() == run.json()
    assert event.status_code == 202
    assert (await shop.next_delivery()).message.envelope.id == event.json()["id"]


async def test_a_run_goes_on_when_its_client_hangs_up(shop: Shop) -> None:
    body = b'{"run_id": "gate-1"}'
    request = (
        b"POST /api/workflows/wait-at-the-gate/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with serving(shop.api()) as server:
        _, writer = await asyncio.open_connection(LOCAL, server.port)
        writer.write(request)
        await asyncio.wait_for(shop.gate.reached.wait(), WITHIN_S)

        writer.transport.abort()
        shop.gate.opened.set()

        async with client_of(server) as client:
            joined = await client.post("/api/workflows/wait-at-the-gate/runs", json={"run_id": "gate-1"})
    assert (joined.status_code, joined.json()["result"], joined.json()["attempt"]) == (200, "through", 1)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("kind", ["declared", "chunked"])
async def test_a_body_too_large_is_a_413_that_the_client_gets_to_read(
    client: httpx.AsyncClient, kind: str, connection: str
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    content: Any = chunks() if kind == "chunked" else b" " * 5_242_880
    headers = {"content-type": "application/json", "connection": connection}

    answer = await client.post("/api/events", content=content, headers=headers)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.post("/api/events", json={"name": "a.b", "data": {}})).status_code == 202


async def test_a_client_that_waits_to_be_told_to_send_is_answered_at_once(shop: Shop) -> None:
    waiting = b"connection: close\r\nexpect: 100-continue\r\ncontent-length: 9999999\r\n\r\n"
    request = b"POST /api/events HTTP/1.1\r\nhost: localhost\r\n" + waiting

    async with serving(shop.api()) as server:
        head, problem = await ask_raw(server, request)

    assert head.startswith(b"HTTP/1.1 413 ")
    assert problem["status"] == 413


async def test_deep_nesting_is_refused_and_the_next_request_is_answered(shop: Shop) -> None:
    async with serving(shop.api()) as server, client_of(server) as client:
        for body in (b"[" * LIMIT_BYTES, b'{"a":' * (LIMIT_BYTES // 5)):
            answer = await client.post("/api/events", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 422

        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000,
        b"GET /" + b"y" * 40_000,
        b"POST /api/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
    ],
    ids=["nonsense", "header", "address", "length"],
)
async def test_what_is_no_http_is_a_400_as_a_problem(shop: Shop, request_bytes: bytes) -> None:
    async with serving(shop.api()) as server:
        head, problem = await ask_raw(server, request_bytes)

    assert head.startswith(b"HTTP/1.1 400 ")
    assert problem["status"] == 400


async def test_a_request_without_a_host_is_refused(shop: Shop) -> None:
    async with serving(shop.api()) as server:
        head, problem = await ask_raw(server, b"GET /api/runs HTTP/1.0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 403 ")
    assert problem["status"] == 403


async def test_a_websocket_is_refused_like_any_request(shop: Shop) -> None:
    upgrade = (
        b"connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n"
    )

    async with serving(shop.api(token="s3cret")) as server:
        head, _ = await ask_raw(server, b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n" + upgrade + b"\r\n")

    assert head.startswith(b"HTTP/1.1 401 ")


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(
            OSError, match=rf"cannot listen on {LOCAL} port {port}: Address already in use\. Change http"
        ):
            await HttpServer(_never, Address(LOCAL, port)).start()


async def test_a_host_that_is_none_of_ours_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1 port 0: Cannot assign requested address"):
        await HttpServer(_never, Address("192.0.2.1", 0)).start()


async def test_all_addresses_of_a_name_are_listened_on_at_one_port(shop: Shop) -> None:
    server = HttpServer(shop.api(), Address("localhost", 0))
    await server.start()

    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://localhost:{server.port}/livez")
    await server.aclose()

    assert answer.status_code == 200


async def test_the_body_of_an_answer_does_not_wait_for_the_client_to_confirm_its_head(
    shop: Shop,
) -> None:
    async with serving(shop.api()) as server, client_of(server) as client:
        await client.get("/livez")

        (connection,) = server._state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_a_closed_server_frees_its_port_and_hangs_up(shop: Shop) -> None:
    server = HttpServer(shop.api(), Address(LOCAL, 0))
    await server.start()
    reader, writer = await asyncio.open_connection(LOCAL, server.port)

    await server.aclose()

    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()
    again = HttpServer(shop.api(), Address(LOCAL, server.port))
    await again.start()
    await again.aclose()


async def test_a_server_that_is_closed_answers_what_is_going_on(shop: Shop) -> None:
    async with serving(shop.api()) as server, client_of(server) as client:
        asking = asyncio.create_task(client.post("/api/workflows/wait-at-the-gate/runs"))
        await asyncio.wait_for(shop.gate.reached.wait(), WITHIN_S)

        shop.gate.opened.set()
        await server.aclose()

        assert (await asking).json()["result"] == "through"


async def test_a_request_that_outlasts_the_grace_time_is_a_503(shop: Shop) -> None:
    async with serving(shop.api(), grace_s=0.01) as server, client_of(server) as client:
        asking = asyncio.create_task(client.post("/api/workflows/wait-at-the-gate/runs"))
        await asyncio.wait_for(shop.gate.reached.wait(), WITHIN_S)

        with captured_log() as lines:
            await server.aclose()

        answer = await asking
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert [line for line in lines if line["level"] == "error"] == []


async def _never(_: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError
