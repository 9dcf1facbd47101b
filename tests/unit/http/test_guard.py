from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.unit.http.conftest import LIMIT_BYTES, Shop, problem_of

TOKEN = "s3cret"
READS = [
    "/api/workflows",
    "/api/runs",
    "/api/runs/x",
    "/api/jobs",
    "/api/jobs/nightly/firings",
    "/api/subscribers",
    "/api/dead-letters",
    "/api/openapi.json",
]
CHANGES = [
    "/api/events",
    "/api/workflows/take-stock/runs",
    "/api/jobs/nightly/trigger",
    "/api/jobs/nightly/pause",
    "/api/dead-letters/replay",
    "/api/dead-letters/discard",
]


@pytest.mark.parametrize("path", [*READS, *CHANGES, "/nowhere", "/livez/", "//livez", "/livez/x"])
async def test_without_the_token_everything_but_the_probes_is_a_401(shop: Shop, path: str) -> None:
    async with shop.client(token=TOKEN) as client:
        answer = await client.request("POST" if path in CHANGES else "GET", path)

    assert TOKEN not in problem_of(answer, 401)["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["", "s3cret", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "Bearer \xe9"]
)
async def test_a_wrong_token_is_a_401(shop: Shop, header: str) -> None:
    async with shop.client(token=TOKEN) as client:
        answer = await client.get("/api/runs", headers={b"authorization": header.encode("latin-1")})

    problem_of(answer, 401)


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret"])
async def test_the_token_lets_in_under_any_host(shop: Shop, header: str) -> None:
    async with shop.client("http://shop.example", token=TOKEN) as client:
        answer = await client.get("/api/runs", headers={"authorization": header})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_need_neither_token_nor_host(shop: Shop, path: str) -> None:
    async with shop.client("http://10.0.0.7:8420", token=TOKEN) as guarded, shop.client("http://10.0.0.7") as open_:
        answers = [await guarded.get(path), await open_.get(path)]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8420", "LOCALHOST:1", "127.0.0.1:8420", "127.8.9.1", "[::1]", "[::1]:8420"]
)
async def test_without_a_token_a_loopback_name_is_let_in(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/api/runs", headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8420",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7:8420",
        "evil@localhost",
        "localhost/evil",
        "localhost:x",
        "[::1",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/api/runs", "/nowhere"])
async def test_without_a_token_another_host_is_a_403(client: httpx.AsyncClient, host: str, path: str) -> None:
    answer = await client.get(path, headers={"host": host})

    problem_of(answer, 403)


async def test_a_request_with_two_hosts_is_a_403(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/runs", headers=[("host", "localhost"), ("host", "evil.example")])

    problem_of(answer, 403)


@pytest.mark.parametrize("host", ["shop.example", "Shop.Example:8420", "other.example:81"])
async def test_allowed_hosts_are_let_in(shop: Shop, host: str) -> None:
    async with shop.client(allowed_hosts=["shop.example", "other.example:81"]) as client:
        answer = await client.get("/api/runs", headers={"host": host})

    assert answer.status_code == 200


async def test_an_allowed_host_with_a_port_is_allowed_at_that_port_alone(shop: Shop) -> None:
    async with shop.client(allowed_hosts=["other.example:81"]) as client:
        answer = await client.get("/api/runs", headers={"host": "other.example:82"})

    problem_of(answer, 403)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost:8421",
        "http://localhost",
        "http://127.0.0.1:8420",
        "file://",
        "http://localhost:8420.evil.example",
        "http://localhost:8420@evil.example",
        "localhost:8420",
    ],
)
async def test_an_origin_other_than_its_own_is_a_403(shop: Shop, client: httpx.AsyncClient, origin: str) -> None:
    answer = await client.post("/api/workflows/take-stock/runs", headers={"origin": origin})

    problem_of(answer, 403)
    assert (await shop.engine.list()).items == []


@pytest.mark.parametrize("body", [b"", b"{}"], ids=["bare", "body"])
@pytest.mark.parametrize("path", [*CHANGES, "/nowhere"])
async def test_every_change_from_another_web_page_is_a_403(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    headers = {"origin": "http://evil.example", "content-type": "application/json"}

    answer = await client.post(path, content=body, headers=headers)

    problem_of(answer, 403)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "BREW"])
async def test_whatever_is_no_reading_counts_as_a_change(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/api/runs/x", headers={"origin": "http://evil.example"})

    problem_of(answer, 403)


async def test_the_token_does_not_help_another_web_page(shop: Shop) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "origin": "http://evil.example"}

    async with shop.client(token=TOKEN) as client:
        answer = await client.post("/api/workflows/take-stock/runs", headers=headers)

    problem_of(answer, 403)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8420", "http://localhost:8420"),
        ("localhost", "http://localhost:80"),
        ("[::1]:8420", "http://[::1]:8420"),
        ("shop.example", "https://shop.example"),
        ("Shop.example:443", "https://shop.example"),
    ],
)
async def test_a_change_from_the_own_page_is_let_in(shop: Shop, host: str, origin: str) -> None:
    async with shop.client(allowed_hosts=["shop.example"]) as client:
        answer = await client.post("/api/workflows/take-stock/runs", headers={"host": host, "origin": origin})

    assert answer.status_code == 200


async def test_reading_from_another_web_page_is_answered_but_not_shared(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/runs", headers={"origin": "http://evil.example"})
    preflight = await client.options("/api/events", headers={"origin": "http://evil.example"})

    assert answer.status_code == 200
    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control")]


async def test_a_body_that_says_it_is_too_large_is_a_413(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/events", content=b"x" * (LIMIT_BYTES + 1))

    assert "2,000" in problem_of(answer, 413)["detail"]


@pytest.mark.parametrize("path", ["/api/events", "/nowhere"])
async def test_a_body_that_turns_out_too_large_is_refused_when_all_of_it_was_sent(
    client: httpx.AsyncClient, path: str
) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 500

    answer = await client.post(path, content=chunks(), headers={"content-type": "application/json"})

    problem_of(answer, 413 if path == "/api/events" else 404)
    assert sent == 100


async def test_a_body_of_exactly_the_limit_is_read(client: httpx.AsyncClient) -> None:
    body = b'{"name": "a.b", "data": {}}'.ljust(LIMIT_BYTES)

    answer = await client.post("/api/events", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api", "/api/runs/", "/docs", "/redoc", "/api/runs/a/b"])
async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    problem_of(answer, 404)


async def test_a_method_that_a_route_has_not_is_a_405_with_those_that_it_has(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/runs/x")

    problem_of(answer, 405)
    assert answer.headers["allow"] == "GET"


async def test_an_unexpected_error_is_a_500_that_tells_nothing_and_a_line_in_the_log(
    shop: Shop, client: httpx.AsyncClient, log: list[dict[str, Any]]
) -> None:
    shop.trouble = KeyError(TOKEN)

    answer = await client.get("/api/subscribers")

    assert TOKEN not in str(problem_of(answer, 500))
    line = next(line for line in log if line["event"] == "request_failed")
    assert (line["method"], line["path"], line["error"]) == ("GET", "/api/subscribers", "KeyError")
    assert "list_subscribers" in line["traceback"]


async def test_a_draining_daemon_shows_what_it_has_and_takes_nothing_new(shop: Shop, client: httpx.AsyncClient) -> None:
    shop.ready["running"] = False

    event = await client.post("/api/events", json={"name": "a.b", "data": {}})
    run = await client.post("/api/workflows/take-stock/runs")

    problem_of(event, 503)
    problem_of(run, 503)
    assert run.headers["retry-after"] == "1"
    assert (await client.get("/api/runs")).json()["items"] == []
    assert (await client.get("/livez")).status_code == 200


async def test_while_the_store_is_away_what_would_have_to_wait_for_it_is_refused(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    shop.away_for = {"/api/workflows/take-stock/runs"}

    event = await client.post("/api/events", json={"name": "a.b", "data": {}})
    run = await client.post("/api/workflows/take-stock/runs")

    assert event.status_code == 202
    assert "takes no writes at the moment" in problem_of(run, 503)["detail"]
    assert run.headers["retry-after"] == "1"
    assert (await client.get("/api/runs")).json()["items"] == []


async def test_every_answer_is_dated_and_kept_by_nobody(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/api/runs"), await client.get("/nowhere")]

    for answer in answers:
        assert answer.headers["date"].endswith("GMT")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
