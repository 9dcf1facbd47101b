import asyncio

import httpx
import pytest

from daemon import PermanentFailure, step, workflow
from daemon.http.views import Run
from daemon.workflow.port import RunOptions
from tests.unit.http.conftest import WITHIN_S, Shop, problem_of, wrong_fields
from tests.unit.http.starting import ORDER, start


async def test_a_run_that_completes_answers_200_with_the_run(client: httpx.AsyncClient) -> None:
    answer = await start(client, "sell-something", input=ORDER, run_id="order:17@till.1_a-b")

    run = answer.json()
    assert answer.status_code == 200
    assert list(run) == [
        "run_id",
        "workflow",
        "status",
        "trigger",
        "attempt",
        "input",
        "result",
        "errors",
        "compensated",
        "steps",
        "created_at",
        "updated_at",
        "waiting_for",
    ]
    assert (run["run_id"], run["workflow"], run["status"]) == ("order:17@till.1_a-b", "sell-something", "completed")
    assert run["trigger"]["kind"] == "request"
    assert run["input"] == {"sku": "tea", "address": None}
    assert run["result"] == {"text": "one tea"}
    assert list(run["steps"]) == ["write-receipt"]
    assert Run.model_validate(run).model_dump().keys() == run.keys()  # as /api/openapi.json describes it


async def test_a_run_that_fails_answers_200_with_its_end(client: httpx.AsyncClient) -> None:
    answer = await start(client, "charge")

    run = answer.json()
    assert answer.status_code == 200
    assert run["status"] == "reverted"
    assert run["compensated"] == ["open-account"]
    assert run["errors"][0]["step"] == "charge-account"
    assert run["errors"][0]["attempts"][0]["message"] == "no money \\udcff"


async def test_a_workflow_without_an_input_needs_no_body(client: httpx.AsyncClient) -> None:
    bare = await client.post("/api/workflows/take-stock/runs")
    null = await start(client, "take-stock", input=None)

    assert (bare.status_code, bare.json()["result"]) == (200, 7)
    assert (null.status_code, null.json()["result"]) == (200, 7)


async def test_a_request_that_does_not_wait_answers_202_as_soon_as_the_start_is_durable(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    answer = await start(client, "wait-at-the-gate", wait=False, run_id="gate-1")

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert answer.headers["location"] == "/api/runs/gate-1"
    shop.gate.opened.set()
    joined = await start(client, "wait-at-the-gate", run_id="gate-1")
    assert (joined.status_code, joined.json()["result"]) == (200, "through")


async def test_a_parked_run_answers_202(client: httpx.AsyncClient) -> None:
    answer = await start(client, "visit")

    assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
    assert answer.json()["waiting_for"]


async def test_a_run_goes_on_when_its_client_goes_away(shop: Shop, client: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(start(client, "wait-at-the-gate", run_id="gate-1"))
    await asyncio.wait_for(shop.gate.reached.wait(), WITHIN_S)

    asking.cancel()
    await asyncio.wait([asking])

    shop.gate.opened.set()
    joined = await start(client, "wait-at-the-gate", run_id="gate-1")
    assert (joined.json()["result"], joined.json()["attempt"]) == ("through", 1)


async def test_the_same_run_asked_for_again_is_answered_with_its_stored_result(client: httpx.AsyncClient) -> None:
    first = await start(client, "sell-something", input=ORDER, run_id="order-17")
    again = await start(client, "sell-something", input=ORDER, run_id="order-17")

    assert again.status_code == 200
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("name", "value"), [("sell-something", {"sku": "coffee"}), ("take-stock", None)], ids=["input", "workflow"]
)
async def test_a_run_id_of_another_input_or_workflow_is_a_409(
    client: httpx.AsyncClient, name: str, value: object
) -> None:
    await start(client, "sell-something", input=ORDER, run_id="order-17")

    answer = await start(client, name, input=value, run_id="order-17")

    assert "taken" in problem_of(answer, 409)["detail"]


async def test_a_workflow_that_nobody_has_is_a_404_with_a_guess(client: httpx.AsyncClient) -> None:
    started = await start(client, "sell-somthing", input=ORDER)
    shown = await client.get("/api/workflows/sell-somthing")

    assert "Did you mean 'sell-something'?" in problem_of(started, 404)["detail"]
    assert "Did you mean 'sell-something'?" in problem_of(shown, 404)["detail"]


async def test_every_wrong_field_of_an_input_is_named_without_its_value(client: httpx.AsyncClient) -> None:
    answer = await start(client, "sell-something", input={"address": {"street": 5, "number": "s3cret"}})

    assert set(wrong_fields(answer)) == {"input.sku", "input.address.street", "input.address.number"}
    assert "s3cret" not in answer.text


async def test_a_validator_of_the_application_speaks_to_the_client(client: httpx.AsyncClient) -> None:
    answer = await start(client, "sell-something", input={"sku": "unknown"})

    assert wrong_fields(answer) == {"input.sku": "there is no such sku"}


async def test_a_missing_and_a_needless_input_are_named(client: httpx.AsyncClient) -> None:
    missing = await start(client, "sell-something")
    needless = await start(client, "take-stock", input=5)

    assert wrong_fields(missing) == {"input": "Field required"}
    assert wrong_fields(needless) == {"input": "Workflow 'take-stock' takes none: leave it out"}


async def test_every_wrong_field_of_a_request_is_named(client: httpx.AsyncClient) -> None:
    answer = await start(client, "sell-something", input=ORDER, run_id="a b", wait="no", wiat=True)

    assert set(wrong_fields(answer)) == {"run_id", "wait", "wiat"}
    assert "a b" not in answer.text


async def test_a_number_that_no_float_holds_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/workflows/sell-something/runs", content=b'{"input": 1e999}', headers={"content-type": "application/json"}
    )

    assert set(wrong_fields(answer)) == {"input"}


async def test_workflows_are_shown_with_their_graphs(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/workflows")).json()["items"]
    shown = (await client.get("/api/workflows/sell-something")).json()

    assert [each["name"] for each in listed] == ["charge", "sell-something", "take-stock", "visit", "wait-at-the-gate"]
    assert shown in listed
    assert shown["description"] == "Sell something."
    assert shown["steps"] == ["write-receipt"]
    assert shown["graph"]["nodes"][0]["name"] == "write-receipt"
    assert shown["mermaid"].startswith("flowchart")


async def test_a_run_is_shown_by_its_id_however_that_is_escaped(client: httpx.AsyncClient) -> None:
    await start(client, "sell-something", input=ORDER, run_id="order:17@till")

    plain = await client.get("/api/runs/order:17@till")
    escaped = await client.get("/api/runs/order%3A17%40till")

    assert plain.json()["run_id"] == escaped.json()["run_id"] == "order:17@till"


@pytest.mark.parametrize("run_id", ["nobody", "a%00b", "a%20b", "%ff", "x" * 300])
async def test_a_run_that_nobody_started_is_a_404(client: httpx.AsyncClient, run_id: str) -> None:
    answer = await client.get(f"/api/runs/{run_id}")

    problem_of(answer, 404)


async def test_what_is_asked_of_a_stopping_daemon_is_a_503(shop: Shop, client: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(start(client, "wait-at-the-gate"))
    await asyncio.wait_for(shop.gate.reached.wait(), WITHIN_S)

    await shop.engine.drain(0)

    problem_of(await asking, 503)
    problem_of(await start(client, "take-stock"), 503)


async def test_cancelling_a_run_answers_202_and_the_run_ends_cancelled(shop: Shop, client: httpx.AsyncClient) -> None:
    await start(client, "visit", run_id="visit-1")

    answer = await client.post("/api/runs/visit-1/cancel")
    ended = await shop.engine.execute(shop.engine.workflows["visit"], None, RunOptions("visit-1", wait=True))

    assert answer.status_code == 202
    assert answer.json()["run_id"] == "visit-1"
    assert ended.status == "cancelled"


async def test_a_run_that_has_ended_or_is_not_there_cannot_be_cancelled(client: httpx.AsyncClient) -> None:
    await start(client, "charge", run_id="charge-1")

    ended = await client.post("/api/runs/charge-1/cancel")
    unknown = await client.post("/api/runs/nobody/cancel")
    no_id = await client.post("/api/runs/no body/cancel")

    assert problem_of(ended, 409)["detail"] == "Run 'charge-1' cannot be cancelled: it has ended, reverted."
    problem_of(unknown, 404)
    problem_of(no_id, 404)


async def test_retrying_a_rollback_answers_202_and_goes_on_with_it(shop: Shop, client: httpx.AsyncClient) -> None:
    troubles = [PermanentFailure("not yet")]

    @step("open-door")
    async def open_door() -> str:
        return "open"

    @open_door.compensate
    async def close_door(_: str) -> None:
        if troubles:
            raise troubles.pop()

    @step("stumble")
    async def stumble() -> None:
        raise PermanentFailure("a step")

    @workflow("enter")
    def enter() -> None:
        open_door()
        stumble()

    shop.engine.register([enter])
    failed = await start(client, "enter", run_id="enter-1")
    answer = await client.post("/api/runs/enter-1/retry")
    ended = await shop.engine.execute(enter, None, RunOptions("enter-1", wait=True))

    assert failed.json()["status"] == "failed"
    assert (answer.status_code, answer.json()["run_id"]) == (202, "enter-1")
    assert (ended.status, ended.compensated) == ("reverted", ["open-door"])


async def test_only_a_rollback_that_gave_up_can_be_retried(client: httpx.AsyncClient) -> None:
    await start(client, "charge", run_id="charge-1")

    ended = await client.post("/api/runs/charge-1/retry")
    unknown = await client.post("/api/runs/nobody/retry")

    assert "it is reverted" in problem_of(ended, 409)["detail"]
    problem_of(unknown, 404)


async def test_a_run_belongs_to_the_trace_of_its_request(client: httpx.AsyncClient) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}

    traced = await client.post("/api/workflows/take-stock/runs", json={}, headers=headers)
    plain = await client.post("/api/workflows/take-stock/runs", json={}, headers={"traceparent": "wrong"})

    assert traced.json()["trigger"]["traceparent"].startswith(f"00-{'a' * 32}-")
    assert plain.json()["trigger"] == {"kind": "request", "name": "", "id": "", "correlation_id": None}
