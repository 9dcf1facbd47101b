"""Runs that are in flight when the code changes: each goes on with its own graph, or is held and says why."""

from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    Ref,
    RunStatus,
    SkipTo,
    sleep,
    step,
    transform,
    when,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.deploys import NAP, Fleet, bare, begun, flow, in_order, plain, steps_of
from tests.contract.engine.processes import CountingStore, Journal


@pytest.mark.parametrize(
    ("old", "new", "ran"),
    [
        ("A-bc", "A-bc", "abc"),  # with other functions
        ("A-bc", "A-xbc", "abc"),  # one was added
        ("A-bc", "xA-bc", "abc"),
        ("A-bc", "A-cb", "abc"),  # they are in another order
        ("A-bc", "bcA", "abc"),  # the timer is no code
        ("ab-c", "b-c", "abc"),  # one was removed that the run is past, and that cannot be undone
        ("ab-c", "c", "abc"),
        ("Ab-Cd", "Ax-bdC", "abcd"),
    ],
)
async def test_a_run_goes_on_with_its_own_graph(fleet: Fleet, old: str, new: str, ran: str) -> None:
    before, after = Journal(), Journal()
    await begun(fleet, plain(before, old))
    await fleet.up("new", plain(after, new))

    await fleet.look()
    await fleet.wake()

    run = await fleet.run()
    assert (run.status, "".join(before), "".join(after)) == (
        RunStatus.COMPLETED,
        ran[: len(before)],
        ran[len(before) :],
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("A-bc", "A-b", "step 'c' is missing"),
        ("A-bc", "A-", "step 'b' is missing; step 'c' is missing"),
        ("A-bc", "-bc", "step 'a' is missing"),  # it may have to be undone
        ("A-bcd", "A-bCx", "step 'd' is missing"),
    ],
)
async def test_a_run_is_held_that_needs_what_nobody_has_and_goes_on_when_it_is_back(
    fleet: Fleet, old: str, new: str, why: str
) -> None:
    before, after, again = Journal(), Journal(), Journal()
    await begun(fleet, plain(before, old))
    await fleet.up("new", plain(after, new))
    await fleet.grace()

    held = await fleet.run()
    assert (held.status, held.waiting_for, held.record.wake_us) == (RunStatus.WAITING, f"held: {why}", None)
    assert await fleet.owner() == ""
    await fleet.wake()
    await fleet.grace()
    assert after == []

    await fleet.up("back", plain(again, old))
    await fleet.look()
    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert again == list(old.lower().partition("-")[2])


async def test_a_run_with_the_present_graph_costs_no_reading(fleet: Fleet, store: Store, clock: ManualClock) -> None:
    journal, counting = Journal(), CountingStore(store)
    same = plain(journal, "A-b")
    await begun(fleet, same)

    def refuse(_: str) -> None:
        raise AssertionError

    counting.graph = refuse  # type: ignore[attr-defined]
    other = Fleet(counting, clock)
    await other.up("new", same)
    await other.look()
    await other.wake()

    assert (await fleet.run()).status is RunStatus.COMPLETED


def computed(journal: Journal, *, first: Any, second: Any, takes: str = "a", nap: str = "nap") -> Any:
    a, b = bare(journal, "a"), bare(journal, "b")

    @step("show")
    async def show(value: int) -> None:
        journal.append(f"show {value}")

    def compose() -> Ref[int]:
        refs = {"a": a(), "b": b()}
        length = transform(refs[takes], first)
        show(length)
        sleep(NAP, name=nap)
        more = transform(refs[takes], length, second)
        show.named("show-again")(more)
        return more

    return flow(compose)


async def test_a_transform_that_changed_holds_only_the_runs_that_have_not_come_to_it(fleet: Fleet) -> None:
    def first(text: str) -> int:
        return len(text)

    def second(text: str, length: int) -> int:
        return len(text) + length

    journal = Journal()
    await begun(fleet, computed(journal, first=first, second=second))
    await fleet.up("other-first", computed(journal, first=lambda text: len(text) + 1000, second=second))
    await fleet.look()
    await fleet.wake()
    assert journal[-1] == "show 16"
    assert (await fleet.run()).result == 16
    await fleet.down("other-first")

    await begun(fleet, computed(journal, first=first, second=second), run_id="run-2")
    await fleet.up("other-second", computed(journal, first=first, second=lambda _, length: length))
    await fleet.grace()
    assert (await fleet.run("run-2")).waiting_for == "held: transform-2 has changed"
    await fleet.down("other-second")

    await fleet.up("other-input", computed(journal, first=first, second=second, takes="b"))
    await fleet.grace()
    assert (await fleet.run("run-2")).waiting_for == "held: transform-2 has changed"


async def test_conditions_are_needed_until_they_are_decided(fleet: Fleet) -> None:
    journal = Journal()

    def application(*, changed: bool) -> Any:
        a, b, c, d = (bare(journal, name) for name in "abcd")

        def compose() -> None:
            one = a()
            with when(one, (lambda text: text == "a-output") if not changed else (lambda _: False)) as first:
                sleep(NAP, name="nap")
                b()
                with when(one, lambda _: True):
                    c()
            with first.otherwise():
                (a.named("other") if changed else d)()

        return flow(compose)

    await begun(fleet, application(changed=False))
    await fleet.up("new", application(changed=True))
    await fleet.look()
    await fleet.wake()

    run = await fleet.run()
    assert (run.status, "".join(journal)) == (RunStatus.COMPLETED, "abc")


async def test_a_step_goes_on_with_its_new_options_and_its_new_compensation(fleet: Fleet) -> None:
    before, after = Journal(), Journal()
    await begun(fleet, plain(before, "A-b"))

    @step("a")
    async def other() -> str:
        raise AssertionError

    @other.compensate
    async def undo(data: str) -> None:
        after.append(f"undo {data} as one does now")

    await fleet.up("new", flow(in_order([other, None, after.failing("b")])))
    await fleet.look()
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.REVERTED
    assert after == ["b", "undo a-output as one does now"]


async def test_a_step_that_skips_somewhere_new_skips_as_its_own_graph_says(fleet: Fleet) -> None:
    before, after = Journal(), Journal()
    await begun(fleet, plain(before, "-abc"))
    failing = after.failing("a").options(on_failure=SkipTo("x"))
    await fleet.up("new", flow(in_order([None, failing, *steps_of(after, "bcx")])))
    await fleet.look()
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.REVERTED
    assert after == ["a"]


async def test_the_time_of_a_run_that_is_held_is_up_and_it_is_undone_if_it_can_be(fleet: Fleet) -> None:
    before, after = Journal(), Journal()
    limit = timedelta(minutes=10)
    await begun(fleet, plain(before, "A-b", timeout=limit))
    await fleet.up("new", plain(after, "A-", timeout=limit))
    await fleet.grace()
    assert (await fleet.run()).waiting_for == "held: step 'b' is missing"

    fleet.clock.advance(limit)
    await fleet.look()

    run = await fleet.run()
    assert (run.status, run.compensated, [error.step for error in run.errors]) == (
        RunStatus.REVERTED,
        ["a"],
        ["deployed"],
    )
