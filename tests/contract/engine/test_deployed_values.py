"""What runs in flight have stored, and what is inside of them, when the code changes: loops and handlers."""

from typing import Any

import pytest
from pydantic import BaseModel

from daemon import (
    Event,
    Hook,
    RunStatus,
    StepContext,
    StepResponse,
    emit,
    for_each,
    parallelize,
    sleep,
    step,
)
from tests.contract.engine.deploys import NAP, Fleet, bare, begun, flow, plain
from tests.contract.engine.processes import Journal


async def test_groups_loops_and_their_values_go_on_with_the_new_functions(fleet: Fleet) -> None:
    def application(journal: Journal, concurrency: int, *, reordered: bool) -> Any:
        @step("items")
        async def items() -> list[int]:
            return [1, 2, 3]

        @step("each")
        async def each(item: int, ctx: StepContext) -> int:
            journal.append(ctx.step)
            return item * 10

        @each.compensate
        async def undo(item: int) -> None:
            journal.append(f"undo {item}")

        @step("sum")
        async def total(numbers: list[int]) -> int:
            return sum(numbers)

        def compose() -> Any:
            found = items()
            if reordered:
                bare(journal, "beside")()
            tens = for_each(found, each, concurrency=concurrency)
            sleep(NAP, name="nap")
            hundreds = for_each(tens, each.named("again"), concurrency=concurrency)
            if reordered:
                return {"sum": total(hundreds)}
            parallelize(bare(journal, "beside")(), summed := total(hundreds))
            return {"sum": summed, "first": tens.pick(lambda t: t[0])}

        return flow(compose)

    before, after = Journal(), Journal()
    await begun(fleet, application(before, 3, reordered=False))
    await fleet.up("new", application(after, 1, reordered=True))
    await fleet.look()
    await fleet.wake()

    run = await fleet.run()
    assert (run.status, run.result) == (RunStatus.COMPLETED, {"sum": 600, "first": 10})
    assert (sorted(before), sorted(after)) == (
        ["each[0]", "each[1]", "each[2]"],
        ["again[0]", "again[1]", "again[2]", "beside"],
    )


class Before(BaseModel):
    sku: str


class After(BaseModel):
    sku: str
    count: int


def reading(journal: Journal, model: Any, *, uses: bool, undo: bool = False) -> Any:
    @step("make")
    async def make() -> Any:
        return Before(sku="A-1")

    make.definition.output = make.definition.undo = type(make.definition.output)(model)
    if undo:

        @make.compensate
        async def unmake(_: object) -> None: ...

    @step("use")
    async def use(_: Any) -> None:
        journal.append("use")

    def compose() -> None:
        made = make()
        sleep(NAP, name="nap")
        if uses:
            use(made)

    return flow(compose)


@pytest.mark.parametrize("undo", [False, True])
async def test_a_value_that_does_not_fit_any_more_holds_the_runs_that_need_it(fleet: Fleet, *, undo: bool) -> None:
    journal = Journal()
    await begun(fleet, reading(journal, Before, uses=not undo, undo=undo))
    await fleet.up("new", reading(journal, After, uses=not undo, undo=undo))
    await fleet.grace()

    held = await fleet.run()
    assert held.waiting_for == "held: the output of 'make': Stored JSON no longer fits After: count: Field required"
    await fleet.down("new")
    await fleet.up("back", reading(journal, Before, uses=not undo, undo=undo))
    await fleet.look()
    assert (await fleet.run()).status is RunStatus.WAITING
    await fleet.wake()
    assert (await fleet.run()).status is RunStatus.COMPLETED


async def test_a_value_that_nobody_needs_may_be_of_a_type_that_is_gone(fleet: Fleet) -> None:
    journal = Journal()
    await begun(fleet, reading(journal, Before, uses=False))
    await fleet.up("new", reading(journal, After, uses=False))
    await fleet.look()
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.COMPLETED


@pytest.mark.parametrize("kind", ["local", "module"])
async def test_what_a_removed_step_gave_is_read_as_its_type_if_that_is_there(fleet: Fleet, kind: str) -> None:
    class Local(BaseModel):
        sku: str

    journal = Journal()

    def application(*, removed: bool) -> Any:
        @step("make")
        async def make() -> Any:
            return Local(sku="A-1") if kind == "local" else Before(sku="A-1")

        make.definition.output = type(make.definition.output)(Local if kind == "local" else Before)

        @step("use")
        async def use(value: str) -> None:
            journal.append(value)

        def compose() -> None:
            if not removed:
                made = make()
                sleep(NAP, name="nap")
                use(made.pick(lambda m: m.sku))
            else:
                use("x")

        return flow(compose)

    await begun(fleet, application(removed=False))
    await fleet.up("new", application(removed=True))
    await fleet.grace()
    await fleet.wake()

    run = await fleet.run()
    if kind == "module":
        assert (run.status, journal) == (RunStatus.COMPLETED, ["A-1"])
    else:
        assert run.waiting_for.startswith("held: the output of 'make': The type ")
        assert run.waiting_for.endswith("Local is missing")


class Deployed(Event, name="deployed"):
    version: int


validated = Hook[str]("validated")


async def test_a_handler_that_was_added_after_a_run_had_passed_its_hook_does_not_run(fleet: Fleet) -> None:
    def application(journal: Journal, names: str) -> Any:
        def compose() -> None:
            validated("x")
            sleep(NAP, name="nap")

        made = flow(compose)
        for name in names:

            async def handle(_: str, name: str = name) -> StepResponse[str, str]:
                journal.append(name)
                return StepResponse(name)

            handle.__qualname__ = f"handle-{name}"
            handle.__defaults__ = (name,)
            handler = made.on(validated)(_of_one(handle))
            handler.compensate(_of_one_undo(journal, name))
        return made

    before, after = Journal(), Journal()
    await begun(fleet, application(before, "ab"))
    await fleet.up("new", application(after, "abc"))
    await fleet.look()
    await fleet.wake()
    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert ("".join(before), after) == ("ab", [])
    await fleet.down("new")

    await begun(fleet, application(before, "ab"), run_id="run-2")
    await fleet.up("new", application(after, "a"))
    await fleet.look()
    await fleet.wake()
    await fleet.grace()
    assert (await fleet.run("run-2")).waiting_for.endswith(".handle-b]' is missing")


def _of_one(handle: Any) -> Any:
    async def handler(value: str) -> StepResponse[str, str]:
        found: StepResponse[str, str] = await handle(value)
        return found

    handler.__qualname__ = handle.__qualname__
    return handler


def _of_one_undo(journal: Journal, name: str) -> Any:
    async def undo(_: str) -> None:
        journal.append(f"undo {name}")

    return undo


async def test_a_hook_that_is_missing_holds_a_run_that_has_not_come_to_it(fleet: Fleet) -> None:
    journal = Journal()

    def before() -> None:
        sleep(NAP, name="nap")
        validated("x")

    await begun(fleet, flow(before))
    await fleet.up("new", plain(journal, "-"))
    await fleet.grace()

    assert (await fleet.run()).waiting_for == "held: hook 'validated' is missing"


async def test_events_of_a_graph_that_is_gone_are_published_when_its_run_completes(fleet: Fleet) -> None:
    def before() -> None:
        sleep(NAP, name="nap")
        emit(Deployed(version=1))

    await begun(fleet, flow(before))
    process = await fleet.up("new", plain(Journal(), "x"))
    await fleet.look()
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert len(await fleet.store.outgoing("shop", limit=10)) == 1
    assert process.staged == 1
