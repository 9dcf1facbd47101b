"""Runs that are run once more, asked for over HTTP."""

import httpx

from tests.unit.http.conftest import problem_of, wrong_fields
from tests.unit.http.starting import ORDER, start


async def test_a_run_is_run_once_more(client: httpx.AsyncClient) -> None:
    await start(client, "sell-something", input=ORDER, run_id="order-17")

    bare = await client.post("/api/runs/order-17/rerun")
    await start(client, "sell-something", input=ORDER, run_id="order-17")  # joins it
    waited = await client.post("/api/runs/order-17/rerun", json={"input": {"sku": "cup"}, "wait": True})

    assert (bare.status_code, bare.json()["attempt"]) == (202, 2)
    assert (waited.status_code, waited.json()["attempt"]) == (200, 3)
    assert waited.json()["result"] == {"text": "one cup"}


async def test_a_run_is_run_once_more_from_a_step_with_an_edited_input(client: httpx.AsyncClient) -> None:
    await start(client, "sell-something", input=ORDER, run_id="order-17")

    answer = await client.post(
        "/api/runs/order-17/rerun", json={"from_step": "write-receipt", "input": {"sku": "jug"}, "wait": True}
    )

    assert (answer.status_code, answer.json()["result"]) == (200, {"text": "one jug"})
    assert answer.json()["input"] == {"sku": "tea", "address": None}


async def test_every_wrong_field_of_an_edited_input_is_named(client: httpx.AsyncClient) -> None:
    await start(client, "sell-something", input=ORDER, run_id="order-17")
    await start(client, "take-stock", run_id="stock-1")

    wrong = await client.post("/api/runs/order-17/rerun", json={"input": {"address": {"street": 5}}})
    null = await client.post("/api/runs/order-17/rerun", json={"from_step": "write-receipt", "input": None})
    needless = await client.post("/api/runs/stock-1/rerun", json={"input": 5})
    others = await client.post("/api/runs/order-17/rerun", json={"from_step": 5, "wait": "no", "from": "x"})

    assert set(wrong_fields(wrong)) == {"input.sku", "input.address.street", "input.address.number"}
    assert set(wrong_fields(null)) == {"input"}
    assert "takes no input: leave it out" in wrong_fields(needless)["input"]
    assert set(wrong_fields(others)) == {"from_step", "wait", "from"}


async def test_a_run_that_goes_on_or_has_no_such_step_cannot_be_run_once_more(client: httpx.AsyncClient) -> None:
    await start(client, "visit", run_id="visit-1")
    await start(client, "take-stock", run_id="stock-1")

    waits = await client.post("/api/runs/visit-1/rerun")
    unknown = await client.post("/api/runs/nobody/rerun")
    no_step = await client.post("/api/runs/stock-1/rerun", json={"from_step": "take-stock"})

    assert "attempt 1 of it is waiting" in problem_of(waits, 409)["detail"]
    problem_of(unknown, 404)
    assert "There are: count-stock." in problem_of(no_step, 409)["detail"]
