"""Outputs of external steps that are reported as JSON."""

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from daemon import (
    CodecError,
    Ref,
    RunStatus,
    for_each,
    step,
    workflow,
)
from daemon.errors import MisfitError
from daemon.workflow.codec import Json
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.processes import Process


class Answer(BaseModel):
    by: str
    at: datetime


AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def asking() -> SourceWorkflow[str]:
    @step("ask", external=True)
    async def ask() -> Answer:
        return Answer(by="nobody", at=AT)

    @step("note")
    async def note(answer: Answer) -> str:
        return f"{answer.by} at {answer.at:%H:%M}"

    @workflow("asking")
    def asking() -> Ref[str]:
        return note(ask())

    return asking


async def test_an_output_may_be_reported_as_json_of_the_steps_type(shop: Process) -> None:
    flow = asking()
    parked = await flow(shop.container).run(run_id="a-1")

    await shop.engine.complete_step("a-1", "ask", Json(b'{"by": "Ada", "at": "2026-01-02T03:04:00Z"}'))
    run = await flow(shop.container).run(run_id="a-1")

    assert parked.status is RunStatus.WAITING
    assert run.result == "Ada at 03:04"
    assert run.steps["ask"].output == Answer(by="Ada", at=AT)


async def test_json_that_does_not_fit_is_refused_with_every_wrong_field_and_the_step_waits_on(shop: Process) -> None:
    flow = asking()
    await flow(shop.container).run(run_id="a-1")

    with pytest.raises(MisfitError, match=r"^the output of step 'ask' does not fit Answer: .*by.*; at: ") as refused:
        await shop.engine.complete_step("a-1", "ask", Json(b'{"by": 5, "at": "noon"}'))
    with pytest.raises(CodecError):
        await shop.engine.complete_step("a-1", "ask", "Ada")
    await shop.engine.complete_step("a-1", "ask", Answer(by="Ada", at=AT))
    run = await flow(shop.container).run(run_id="a-1")

    assert [each["loc"] for each in refused.value.details] == [("by",), ("at",)]
    assert run.status is RunStatus.COMPLETED


async def test_each_call_of_a_loop_is_reported_by_its_own_name(shop: Process) -> None:
    @step("count", external=True)
    async def count(shelf: str) -> int:
        return 0

    @workflow("counting")
    def counting(shelves: Ref[list[str]]) -> Ref[list[int]]:
        return for_each(shelves, count)

    await counting(shop.container).run(["a", "b"], run_id="c-1")

    await shop.engine.complete_step("c-1", "count[1]", Json(b"7"))
    await shop.engine.complete_step("c-1", "count[0]", 5)
    run = await counting(shop.container).run(["a", "b"], run_id="c-1")

    assert run.result == [5, 7]
