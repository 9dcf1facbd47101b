"""What `list` and `get` are given: what no run can be like is told, or finds nothing, and the same in every store."""

from datetime import UTC, datetime
from typing import Any

import pytest

from daemon import Ref, RunNotFound, RunStatus, workflow
from tests.contract.engine.processes import Process


@workflow("listed")
def listed() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"status": "faild"},
            f"status is one of {', '.join(RunStatus)}, not 'faild'. Did you mean 'failed'?",
        ),
        ({"trigger": "events"}, "trigger is event, job, request, run or call, alone or with a name "),
        ({"since": "2026-01-01"}, "since is an aware datetime, not 2026-01-01; add tzinfo=UTC."),
        ({"after": "garbage"}, "after is the `next` of the page before, not 'garbage'."),
        ({"after": ""}, "after is the `next` of the page before, not ''."),
        ({"limit": 0}, "limit is 1 to 200, not 0."),
        ({"limit": "5"}, "limit is 1 to 200, not '5'."),
    ],
)
async def test_a_filter_that_fits_no_run_at_all_is_refused(shop: Process, asked: dict[str, Any], said: str) -> None:
    await listed(shop.container).run()

    with pytest.raises(ValueError, match="is") as refused:
        await shop.engine.list(**asked)

    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("text", ['say "hi"', "C:\\dir", "one\ntwo", '{"said":', "SAY"])
async def test_a_text_is_found_as_it_is_in_a_value_and_as_it_is_in_json(shop: Process, text: str) -> None:
    @workflow("saying")
    def saying(what: Ref[dict[str, str]]) -> None:
        """Do nothing."""

    run = await saying(shop.container).run({"said": 'say "hi" in C:\\dir\none\ntwo'})
    await listed(shop.container).run()

    page = await shop.engine.list(text=text)

    assert [each.run_id for each in page.items] == [run.run_id]


async def test_a_text_is_found_in_upper_and_lower_case_and_not_spelt_otherwise(shop: Process) -> None:
    @workflow("sending")
    def sending(where: Ref[str]) -> None:
        """Do nothing."""

    run = await sending(shop.container).run("Große Straße", run_id="there")

    found = {text: (await shop.engine.list(text=text)).items for text in ("GROßE", "große", "GROSSE")}

    assert {text: [each.run_id for each in items] for text, items in found.items()} == {
        "GROßE": [run.run_id],
        "große": [run.run_id],
        "GROSSE": [],
    }


@pytest.mark.parametrize("odd", ["\0", "\ud800"])
@pytest.mark.parametrize("what", ["text", "workflow"])
async def test_a_text_that_nothing_can_hold_is_found_nowhere(shop: Process, what: str, odd: str) -> None:
    asked: dict[str, Any] = {what: odd}
    await listed(shop.container).run()

    page = await shop.engine.list(**asked)

    assert (page.items, page.next) == ([], None)


async def test_all_runs_are_younger_than_any_clock(shop: Process) -> None:
    run = await listed(shop.container).run()

    page = await shop.engine.list(since=datetime.min.replace(tzinfo=UTC))

    assert [each.run_id for each in page.items] == [run.run_id]


@pytest.mark.parametrize("run_id", ["", "a b", "a\0b", "\ud800", 5])
async def test_what_can_be_no_run_id_is_not_found(shop: Process, run_id: Any) -> None:
    engine = shop.engine

    asked = [
        engine.get(run_id),
        engine.cancel(run_id),
        engine.retry(run_id),
        engine.rerun(run_id),
        engine.complete_step(run_id, "ask"),
        engine.fail_step(run_id, "ask", "no"),
        anext(engine.watch(run_id=run_id)),
    ]

    for each in asked:
        with pytest.raises(RunNotFound):
            await each
