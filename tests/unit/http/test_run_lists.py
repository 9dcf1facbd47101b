"""Lists of runs by HTTP: pages, filters, and what is wrong with those."""

import httpx
import pytest

from daemon.clock import new_id
from tests.unit.http.conftest import wrong_fields
from tests.unit.http.starting import ORDER, start


async def test_runs_are_listed_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await start(client, "sell-something", input=ORDER, run_id=f"order-{number}")

    first = (await client.get("/api/runs", params={"limit": 2})).json()
    second = (await client.get("/api/runs", params={"limit": 2, "after": first["next"]})).json()
    third = (await client.get("/api/runs", params={"limit": 2, "after": second["next"]})).json()

    pages = [[run["run_id"] for run in page["items"]] for page in (first, second, third)]
    assert pages == [["order-4", "order-3"], ["order-2", "order-1"], ["order-0"]]
    assert third["next"] is None


async def test_a_page_has_each_run_as_it_is_shown_by_itself(client: httpx.AsyncClient) -> None:
    await start(client, "sell-something", input=ORDER, run_id="completed")
    await start(client, "charge", run_id="reverted")
    await start(client, "visit", run_id="waiting")

    page = (await client.get("/api/runs")).json()["items"]

    assert [(run["run_id"], run["status"]) for run in page] == [
        (each, each) for each in ("waiting", "reverted", "completed")
    ]
    assert page == [(await client.get(f"/api/runs/{run['run_id']}")).json() for run in page]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("workflow=charge", ["c"]),
        ("status=completed", ["o"]),
        ("status=reverted", ["c"]),
        ("trigger=request", ["c", "o"]),
        ("trigger=event:greet", []),
        ("since=2020-01-01", ["c", "o"]),
        ("since=2020-01-01T00:00:00Z", ["c", "o"]),
        ("since=2999-01-01T00:00:00%2B01:00", []),
        ("text=TEA", ["o"]),
        ("workflow=&status=&trigger=&since=&text=&after=&limit=", ["c", "o"]),
    ],
)
async def test_runs_are_found_by_what_is_asked_for(client: httpx.AsyncClient, query: str, found: list[str]) -> None:
    await start(client, "sell-something", input=ORDER, run_id="o")
    await start(client, "charge", run_id="c")

    answer = await client.get(f"/api/runs?{query}")

    assert [run["run_id"] for run in answer.json()["items"]] == found


async def test_a_page_goes_on_from_one_that_looked_for_a_run_id_farther_back(client: httpx.AsyncClient) -> None:
    await start(client, "take-stock", run_id="run-1")

    answer = await client.get("/api/runs", params={"text": "run-1", "after": f"{new_id(1)}~"})

    assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None})


async def test_every_wrong_filter_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/api/runs?status=done&trigger=moon&since=soon&after=x&limit=1000&text=%00&workfow=a&workflow=a%00"
    )

    assert set(wrong_fields(answer)) == {
        "status",
        "trigger",
        "since",
        "after",
        "limit",
        "text",
        "workfow",
        "workflow",
    }
