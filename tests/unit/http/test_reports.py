"""Outcomes of external steps, reported over HTTP."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from daemon import Ref, StepResponse, for_each, step, workflow
from daemon.workflow.port import RunOptions
from tests.unit.http.conftest import LIMIT_BYTES, Shop, problem_of, wrong_fields

ANSWER = {"by": "Ada", "at": "2026-01-02T03:04:00Z"}


class Answer(BaseModel):
    by: str
    at: datetime


@step("ask", external=True)
async def ask(question: str) -> Answer:
    return Answer(by="nobody", at=datetime(2026, 1, 1, tzinfo=UTC))


@ask.compensate
async def forget(answer: Answer | None) -> None:
    pass


@step("order-milk", external=True)
async def order_milk() -> StepResponse[None, None]:
    return StepResponse.pending()


@workflow("ask-everybody")
def ask_everybody(questions: Ref[list[str]]) -> Ref[list[Answer]]:
    return for_each(questions, ask)


@workflow("buy-milk")
def buy_milk() -> None:
    order_milk()


@pytest.fixture
async def waiting(shop: Shop) -> Shop:
    """A shop with a run of each, which waits."""
    shop.engine.register([ask_everybody, buy_milk])
    await shop.engine.execute(ask_everybody, ["why?", "how?"], RunOptions("q-1"))
    await shop.engine.execute(buy_milk, None, RunOptions("m-1"))
    return shop


async def report(client: httpx.AsyncClient, path: str, **body: Any) -> httpx.Response:
    return await client.post(f"/api/runs/{path}", json=body)


@pytest.mark.parametrize("name", ["ask[{}]", "ask%5B{}%5D"])
async def test_an_output_is_read_as_the_steps_type(waiting: Shop, client: httpx.AsyncClient, name: str) -> None:
    first = await report(client, f"q-1/steps/{name.format(0)}/complete", output=ANSWER)
    second = await report(client, f"q-1/steps/{name.format(1)}/complete", output=ANSWER)
    ended = await waiting.engine.execute(ask_everybody, ["why?", "how?"], RunOptions("q-1", wait=True))

    assert first.status_code == second.status_code == 202
    assert (first.json()["run_id"], first.json()["workflow"]) == ("q-1", "ask-everybody")
    assert ended.result == [Answer(by="Ada", at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))] * 2


async def test_a_step_without_an_output_needs_none(waiting: Shop, client: httpx.AsyncClient) -> None:
    answer = await report(client, "m-1/steps/order-milk/complete")
    ended = await waiting.engine.execute(buy_milk, None, RunOptions("m-1", wait=True))

    assert answer.status_code == 202
    assert ended.status == "completed"


async def test_a_failure_is_reported_with_its_reason(waiting: Shop, client: httpx.AsyncClient) -> None:
    answer = await report(client, "m-1/steps/order-milk/fail", error="sold out")
    ended = await waiting.engine.execute(buy_milk, None, RunOptions("m-1", wait=True))

    assert answer.status_code == 202
    assert [str(error) for error in ended.errors] == ["ReportedFailure: sold out"]


@pytest.mark.usefixtures("waiting")
async def test_every_wrong_field_of_an_output_is_named(client: httpx.AsyncClient) -> None:
    wrong = await report(client, "q-1/steps/ask[0]/complete", output={"by": 5, "at": "s3cret"})
    missing = await report(client, "q-1/steps/ask[0]/complete")
    null = await report(client, "q-1/steps/ask[0]/complete", output=None)
    others = await report(client, "q-1/steps/ask[0]/fail", output=5, error=7)
    no_reason = await report(client, "q-1/steps/ask[0]/fail", error="")

    assert set(wrong_fields(wrong)) == {"output.by", "output.at"}
    assert "s3cret" not in wrong.text
    assert wrong_fields(missing) == {"output": "Field required"}
    assert set(wrong_fields(null)) == {"output"}
    assert set(wrong_fields(others)) == {"output", "error"}
    assert set(wrong_fields(no_reason)) == {"error"}


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize(("what", "body"), [("complete", {"output": ANSWER}), ("fail", {"error": "no"})])
async def test_a_report_that_nothing_waits_for_is_refused(
    client: httpx.AsyncClient, what: str, body: dict[str, Any]
) -> None:
    first = await report(client, f"q-1/steps/ask[1]/{what}", **body)
    again = await report(client, f"q-1/steps/ask[1]/{what}", **body)
    no_step = await report(client, f"q-1/steps/ask[2]/{what}", **body)
    no_run = await report(client, f"nobody/steps/ask/{what}", **body)
    no_id = await report(client, f"no body/steps/ask/{what}", **body)

    assert first.status_code == 202
    assert "waits for no report: it" in problem_of(again, 409)["detail"]
    assert "has not come to a step of this name" in problem_of(no_step, 409)["detail"]
    problem_of(no_run, 404)
    problem_of(no_id, 404)


@pytest.mark.usefixtures("waiting")
async def test_an_output_above_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await report(client, "q-1/steps/ask[0]/complete", output={**ANSWER, "by": "x" * LIMIT_BYTES})

    problem_of(answer, 413)
