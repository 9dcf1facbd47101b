"""What of a run stays as it was when it is run once more from one of its steps."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic_core import from_json

from daemon import (
    Event,
    Hook,
    Ref,
    RunExists,
    RunStateError,
    RunStatus,
    SkipTo,
    WorkflowRun,
    emit,
    sleep,
    transform,
    wait_for_event,
    workflow,
)
from daemon.clock import ManualClock
from daemon.events.model import message_of, unpack
from daemon.store.port import Store
from tests.contract.engine.bench import Bench, abc, ended, refusal
from tests.contract.engine.processes import Process, until


class Paid(Event, name="order.paid"):
    id: str


async def test_a_child_before_the_step_is_kept_whole_and_one_at_it_runs_anew(shop: Process, bench: Bench) -> None:
    flow, d = abc(bench, bench.undoable), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(flow.as_step(text))

    await ended(shop, parent, "x", "r-1")
    bench.taken()

    after = await shop.engine.rerun("r-1", from_step="d", wait=True)
    then, child = bench.taken(), await shop.engine.get("r-1:abc")
    anew = await shop.engine.rerun("r-1", from_step="abc", input="y", wait=True)

    assert (after.result, then) == ("x-a-b-c-d", ["d x-a-b-c"])
    assert (child.attempt, child.status, child.result) == (2, RunStatus.COMPLETED, "x-a-b-c")
    assert list(child.steps) == ["a", "b", "c"]
    assert anew.result == "y-a-b-c-d"
    assert bench.taken() == ["a y", "b y-a", "c y-a-b", "d y-a-b-c"]
    assert (await shop.engine.get("r-1:abc")).attempt == 3
    with pytest.raises(RunStateError, match="'r-1:abc' cannot be rerun by itself: it is a step of run 'r-1'"):
        await shop.engine.rerun("r-1:abc")
    assert "There are: abc, d." in await refusal(shop, "r-1", from_step="b")


async def test_a_kept_child_is_undone_with_its_parent(shop: Process, bench: Bench) -> None:
    inner, d = abc(bench, bench.undoable), bench.step("d")

    @workflow("middle")
    def middle(text: Ref[str]) -> Ref[str]:
        result: Ref[str] = inner.as_step(text)
        return result

    @workflow("outer")
    def outer(text: Ref[str]) -> Ref[str]:
        return d(middle.as_step(text))

    await ended(shop, outer, "x", "r-1")
    bench.taken()
    bench.broken = {"d"}

    run = await shop.engine.rerun("r-1", from_step="d", wait=True)
    undone = bench.taken()
    said = await refusal(shop, "r-1", from_step="d")

    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["middle"])
    assert undone == ["d x-a-b-c", "undo c", "undo b", "undo a"]
    assert [(await shop.engine.get(id_)).status for id_ in ("r-1:middle", "r-1:middle:abc")] == [RunStatus.REVERTED] * 2
    assert "'middle', which comes before it, was undone" in said


async def test_a_child_that_had_nothing_to_undo_is_kept_as_completed(shop: Process, bench: Bench) -> None:
    flow, d = abc(bench, bench.step), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(flow.as_step(text))

    bench.broken = {"d"}
    await ended(shop, parent, "x", "r-1")
    reverted = await shop.engine.get("r-1:abc")
    bench.broken = set()

    run = await shop.engine.rerun("r-1", from_step="d", wait=True)
    child = await shop.engine.get("r-1:abc")

    assert reverted.status is RunStatus.REVERTED
    assert (run.result, run.errors) == ("x-a-b-c-d", [])
    assert (child.attempt, child.status, child.result, child.errors) == (2, RunStatus.COMPLETED, "x-a-b-c", [])


async def test_a_child_whose_id_is_another_runs_is_refused(shop: Process, bench: Bench) -> None:
    flow, d = abc(bench, bench.step), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(flow.as_step(text))

    bench.broken = {"d"}
    await ended(shop, parent, "x", "r-1")
    await flow(shop.container).run("x", run_id="r-1:abc")

    with pytest.raises(RunExists, match="'r-1' is taken: one of its children"):
        await shop.engine.rerun("r-1", from_step="d")
    assert (await shop.engine.get("r-1")).attempt == 1


async def test_tolerated_failures_skips_hooks_timers_and_events_stay_as_they_were(
    shop: Process, clock: ManualClock, bench: Bench
) -> None:
    a, b, c = bench.step("a", on_failure="continue"), bench.step("b", on_failure=SkipTo("c")), bench.step("c")
    hook = Hook[str]("checked")

    @workflow("varied")
    def varied(text: Ref[str]) -> Ref[str]:
        a(text)
        hook(text)
        b(text)
        bench.step("skipped")(text)
        found = c(text)
        sleep(timedelta(hours=1))
        paid = wait_for_event(Paid, key=text, match=lambda event: event.id)
        return bench.step("last")(transform(found, paid, lambda found, paid: f"{found} {paid.id}"))

    @varied.on(hook)
    async def check(text: str) -> None:
        bench.journal.append(f"check {text}")

    async def come_to_the_end() -> Any:
        await until(lambda: clock.next_due_s() is not None)
        clock.advance(timedelta(hours=1))
        await shop.engine.take_event(Paid(id="x"), message_of("order.paid", b"{}", source="s", now_us=1).envelope)
        return await varied(shop.container).run("x", run_id="r-1", wait=True)

    bench.broken = {"a", "b"}
    await varied(shop.container).run("x", run_id="r-1")
    await come_to_the_end()
    at_first = bench.taken()
    bench.broken = set()

    run = await shop.engine.rerun("r-1", from_step="last", wait=True)
    then = bench.taken()
    await shop.engine.rerun("r-1", from_step="sleep-1")
    slept = await come_to_the_end()
    in_vain = await refusal(shop, "r-1", from_step="skipped")

    assert at_first == ["a x", "check x", "b x", "c x", "last x-c x"]
    assert then == ["last x-c x"]
    assert [(error.step, error.tolerated) for error in run.errors] == [("a", True), ("b", True)]
    assert list(run.steps)[:3] == ["a", run_name(run), "b"]
    assert slept.result == "x-c x-last"
    assert bench.taken() == ["last x-c x"]
    assert "the run did not come this way" in in_vain


def run_name(run: WorkflowRun[Any]) -> str:
    """Return the name of the handler of the hook `checked`."""
    return next(name for name in run.steps if name.startswith("checked["))


async def test_events_that_were_published_are_not_staged_again_and_others_are(
    store: Store, shop: Process, bench: Bench
) -> None:
    a, b = bench.step("a"), bench.step("b")

    @workflow("emitting")
    def emitting(text: Ref[str]) -> None:
        a(text)
        emit(Paid(id="early"))
        b(text)
        emit(Paid(id="late"))

    async def published() -> list[str]:
        found = [unpack(each.message) for each in await store.outgoing("shop", limit=100)]
        return [from_json(message.body)["id"] for message in found]

    bench.broken = {"b"}
    await ended(shop, emitting, "x", "r-1")
    nothing = await published()
    bench.broken = set()
    await shop.engine.rerun("r-1", from_step="b", wait=True)
    after_failure = await published()
    await shop.engine.rerun("r-1", from_step="b", wait=True)
    after_success = await published()

    assert nothing == []
    assert after_failure == ["early", "late"]
    assert after_success == ["early", "late", "late"]
