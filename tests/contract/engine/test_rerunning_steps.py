"""Runs that are run once more from one of their steps."""

from datetime import timedelta

import pytest

from daemon import (
    CodecError,
    Event,
    Ref,
    RunStatus,
    emit,
    for_each,
    parallelize,
    transform,
    when,
    workflow,
)
from daemon.clock import ManualClock
from daemon.errors import MisfitError
from daemon.store.port import Store
from daemon.workflow.codec import Json
from tests.contract.engine.bench import Bench, abc, ended, refusal
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import Process


class Told(Event, name="rerunning.told"):
    """Something happened."""


async def test_what_comes_before_a_step_keeps_its_outcome(shop: Process, clock: ManualClock, bench: Bench) -> None:
    flow = abc(bench, bench.undoable)
    first = await ended(shop, flow, "x", "r-1")
    clock.advance(timedelta(hours=1))
    bench.taken()

    run = await shop.engine.rerun("r-1", from_step="b", wait=True)

    assert bench.taken() == ["b x-a", "c x-a-b"]
    assert (run.attempt, run.result) == (2, "x-a-b-c")
    assert list(run.steps) == ["a", "b", "c"]
    assert run.steps["a"] == first.steps["a"]
    assert run.steps["b"] != first.steps["b"]


async def test_what_was_kept_is_undone_with_the_rest_if_the_new_attempt_fails(shop: Process, bench: Bench) -> None:
    flow = abc(bench, bench.undoable)
    await ended(shop, flow, "x", "r-1")
    bench.taken()
    bench.broken = {"c"}

    run = await shop.engine.rerun("r-1", from_step="c", wait=True)

    assert run.status is RunStatus.REVERTED
    assert bench.taken() == ["c x-a-b", "undo b", "undo a"]
    assert run.compensated == ["b", "a"]


async def test_a_step_runs_again_with_an_edited_input_in_all_its_attempts(
    store: Store, clock: ManualClock, bench: Bench
) -> None:
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    flow = abc(bench, bench.step)
    await ended(old, flow, "x", "r-1")
    bench.taken()

    run = await old.engine.rerun("r-1", from_step="b", input="edited", wait=True)
    same = await old.engine.rerun("r-1", from_step="b", wait=True)
    later = await old.engine.rerun("r-1", from_step="c", wait=True)
    left = await old.engine.rerun("r-1", from_step="b", input=Json(b'"left"'), here=False)
    await old.die()
    await new.take_over(flow)
    taken_over = await flow(new.container).run("x", run_id="r-1")

    assert run.result == same.result == later.result == "edited-b-c"
    assert run.steps["b"].input == "edited"
    assert run.input == "x"
    assert list(run.steps) == ["a", "b", "c"]
    assert left.attempt == taken_over.attempt == 5
    assert taken_over.result == "left-b-c"
    assert bench.taken() == ["b edited", "c edited-b"] * 2 + ["c edited-b", "b left", "c left-b"]


async def test_an_edited_input_has_to_fit_the_step(shop: Process, bench: Bench) -> None:
    flow = abc(bench, bench.step)
    await ended(shop, flow, "x", "r-1")

    with pytest.raises(MisfitError, match=r"^the input of step 'b' does not fit str: "):
        await shop.engine.rerun("r-1", from_step="b", input=Json(b"5"))
    with pytest.raises(CodecError):
        await shop.engine.rerun("r-1", from_step="b", input=5)

    assert (await shop.engine.get("r-1")).attempt == 1


async def test_decisions_and_transforms_before_the_step_are_not_made_again(shop: Process, bench: Bench) -> None:
    calls: list[str] = []
    a, b, c = (bench.step(name) for name in "abc")

    def longer(text: str) -> str:
        calls.append("transform")
        return f"{text}!"

    def is_long(text: str) -> bool:
        calls.append("when")
        return len(text) > 2

    @workflow("deciding")
    def deciding(text: Ref[str]) -> Ref[str]:
        long = transform(a(text), longer)
        with when(long, is_long) as branch:
            inside = c(b(long))
        with branch.otherwise():
            bench.step("never")(long)
        return transform(branch.output(inside), lambda found: found or "")

    await ended(shop, deciding, "x", "r-1")
    calls.clear()
    bench.taken()

    run = await shop.engine.rerun("r-1", from_step="c", wait=True)
    said = await refusal(shop, "r-1", from_step="never")

    assert run.result == "x-a!-b-c"
    assert calls == []
    assert bench.taken() == ["c x-a!-b"]
    assert said == (
        "Run 'r-1' cannot be rerun from 'never': the run did not come this way; rerun it from another step or from the "
        "beginning."
    )


async def test_completed_siblings_in_a_parallel_group_keep_their_outcome(shop: Process, bench: Bench) -> None:
    a, b, c, d = (bench.step(name) for name in "abcd")

    @workflow("abreast")
    def abreast(text: Ref[str]) -> Ref[str]:
        start = a(text)
        twice = transform(start, lambda found: [found, found])
        left, right, many = parallelize(b(start), c(start), for_each(twice, d))
        return transform(left, right, many, lambda x, y, z: f"{x} {y} {len(z)}")

    bench.broken = {"c"}
    failed = await ended(shop, abreast, "x", "r-1")
    bench.broken = set()
    at_first = bench.taken()

    completed = await shop.engine.rerun("r-1", from_step="c", wait=True)
    then = bench.taken()
    again = await shop.engine.rerun("r-1", from_step="b", wait=True)

    assert failed.status is RunStatus.REVERTED
    assert at_first == ["a x", "b x-a", "c x-a"]
    assert sorted(then) == ["c x-a", "d x-a", "d x-a"]
    assert bench.taken() == ["b x-a"]
    assert completed.result == again.result == "x-a-b x-a-c 2"


async def test_a_loop_runs_again_with_all_its_items_or_with_edited_ones(shop: Process, bench: Bench) -> None:
    a, b = bench.step("a"), bench.step("b")

    @workflow("looping")
    def looping(texts: Ref[list[str]]) -> Ref[list[str]]:
        found = for_each(texts, a)
        b("after")
        return found

    await ended(shop, looping, ["x", "y"], "r-1")
    bench.taken()

    later = await shop.engine.rerun("r-1", from_step="b", wait=True)
    at_b = bench.taken()
    again = await shop.engine.rerun("r-1", from_step="a", wait=True)
    at_a = bench.taken()
    edited = await shop.engine.rerun("r-1", from_step="a", input=Json(b'["z"]'), wait=True)

    assert (later.result, at_b) == (["x-a", "y-a"], ["b after"])
    assert (again.result, sorted(at_a)) == (["x-a", "y-a"], ["a x", "a y", "b after"])
    assert edited.result == ["z-a"]
    assert await refusal(shop, "r-1", from_step="a[0]") == (
        "Run 'r-1' cannot be rerun from 'a[0]': workflow 'looping' has no such step. 'a' is run again as a whole. "
        "There are: a, b."
    )


async def test_what_comes_after_an_event_that_is_emitted_anew_is_made_of_a_loops_outputs(
    shop: Process, bench: Bench
) -> None:
    a = bench.step("a")

    @workflow("telling")
    def telling(texts: Ref[list[str]]) -> Ref[int]:
        with when(texts, bool) as some:
            made = for_each(texts, a)
        emit(transform(texts, lambda _: Told()))
        return transform(some.output(made), lambda found: len(found or []))

    first = await telling(shop.container).run(["x", "y"], run_id="t-1")
    second = await shop.engine.rerun("t-1", from_step="emit-1", wait=True)

    assert (first.result, second.result) == (2, 2)


async def test_a_loop_that_did_not_complete_cannot_be_passed_over(shop: Process, bench: Bench) -> None:
    a, b = bench.step("a"), bench.step("b")

    @workflow("looping")
    def looping(texts: Ref[list[str]]) -> None:
        for_each(texts, a, concurrency=1)
        b("after")

    bench.broken = {"a"}
    await ended(shop, looping, ["x", "y"], "r-1")

    assert await refusal(shop, "r-1", from_step="b") == (
        "Run 'r-1' cannot be rerun from 'b': 'a[0]', which comes before it, did not complete; rerun it from 'a' or "
        "from the beginning."
    )


async def test_an_undone_step_before_it_forbids_it_and_is_named(shop: Process, bench: Bench) -> None:
    a, b, c, d = bench.step("a"), bench.undoable("b"), bench.undoable("c"), bench.step("d")

    @workflow("undone")
    def undone(text: Ref[str]) -> Ref[str]:
        return d(c(b(a(text))))

    bench.broken = {"d"}
    failed = await ended(shop, undone, "x", "r-1")
    bench.broken = set()
    bench.taken()

    said = [await refusal(shop, "r-1", from_step=name) for name in "dc"]
    run = await shop.engine.rerun("r-1", from_step="b", wait=True)

    assert failed.compensated == ["c", "b"]
    assert said[0] == (
        "Run 'r-1' cannot be rerun from 'd': 'b', which comes before it, was undone; rerun it from 'b' or from the "
        "beginning."
    )
    assert said[1] == said[0].replace("'d'", "'c'")
    assert (run.status, run.result) == (RunStatus.COMPLETED, "x-a-b-c-d")
    assert bench.taken() == ["b x-a", "c x-a-b", "d x-a-b-c"]


async def test_a_step_that_the_run_did_not_come_to_is_refused_and_one_that_failed_is_not(
    shop: Process, bench: Bench
) -> None:
    flow = abc(bench, bench.step)
    bench.broken = {"b"}
    await ended(shop, flow, "x", "r-1")
    bench.broken = set()
    bench.taken()

    said = await refusal(shop, "r-1", from_step="c")
    run = await shop.engine.rerun("r-1", from_step="b", wait=True)

    assert "'b', which comes before it, did not complete; rerun it from 'b'" in said
    assert (run.result, run.errors) == ("x-a-b-c", [])
    assert bench.taken() == ["b x-a", "c x-a-b"]
