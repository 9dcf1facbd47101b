from typing import Any

import httpx
import pytest

from tests.unit.http.conftest import Shop


async def test_a_process_that_is_well_and_takes_work_answers_200(client: httpx.AsyncClient) -> None:
    live, ready = await client.get("/livez"), await client.get("/readyz")

    assert (live.status_code, live.json()) == (200, {"status": "ok", "checks": {"loop": "ok"}})
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"running": "ok", "broker": "ok"}})


async def test_a_lost_broker_makes_a_process_unready_but_not_dead(shop: Shop, client: httpx.AsyncClient) -> None:
    shop.ready = {"running": True, "broker": False}

    live, ready = await client.get("/livez"), await client.get("/readyz")

    assert live.status_code == 200
    assert ready.status_code == 503
    assert ready.json() == {"status": "unavailable", "checks": {"running": "ok", "broker": "failing"}}


async def test_a_process_that_is_not_well_answers_503(shop: Shop, client: httpx.AsyncClient) -> None:
    shop.live = {"loop": False}

    answer = await client.get("/livez")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


async def test_a_check_that_breaks_is_a_503_without_its_text(
    shop: Shop, client: httpx.AsyncClient, log: list[dict[str, Any]]
) -> None:
    shop.trouble = RuntimeError("postgresql://sagad:s3cret@db is away")

    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "checks": {"health": "failing"}})
    assert [line["error"] for line in log if line["event"] == "health_unknown"] == ["RuntimeError"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/livez", "get", "503"),
        ("/readyz", "get", "503"),
        ("/api/events", "post", "202"),
        ("/api/workflows/{name}/runs", "post", "202"),
        ("/api/workflows", "get", "200"),
        ("/api/workflows/{name}", "get", "200"),
        ("/api/runs", "get", "200"),
        ("/api/runs/{run_id}", "get", "200"),
        ("/api/subscribers", "get", "200"),
        ("/api/dead-letters", "get", "200"),
        ("/api/dead-letters/replay", "post", "200"),
        ("/api/dead-letters/discard", "post", "200"),
    ],
)
async def test_every_route_is_described(client: httpx.AsyncClient, path: str, method: str, status: str) -> None:
    described = (await client.get("/api/openapi.json")).json()

    operation = described["paths"][path][method]
    assert operation["description"]
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    name = schema["$ref"].removeprefix("#/components/schemas/")
    assert described["components"]["schemas"][name]["description"]


async def test_errors_are_described_as_problems(client: httpx.AsyncClient) -> None:
    described = (await client.get("/api/openapi.json")).json()

    content = described["paths"]["/api/events"]["post"]["responses"]["4XX"]["content"]
    name = content["application/problem+json"]["schema"]["$ref"].removeprefix("#/components/schemas/")
    assert "errors" in described["components"]["schemas"][name]["properties"]
    assert "HTTPValidationError" not in described["components"]["schemas"]
