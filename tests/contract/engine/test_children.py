"""Workflows as steps of others: what they get and what they give."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from daemon import Ref, RunStatus, StepState, parallelize, step, when, workflow
from tests.contract.engine.processes import Journal, Process


class Parcel(BaseModel):
    weight_g: int
    packed_at: datetime


PARCEL = Parcel(weight_g=700, packed_at=datetime(2026, 1, 2, 3, tzinfo=UTC))


@step("weigh")
async def weigh(parcel: Parcel) -> int:
    return parcel.weight_g


@step("stamp")
async def stamp(parcel: Parcel) -> datetime:
    return parcel.packed_at


@step("repack")
async def repack(parcel: Parcel) -> Parcel:
    return parcel.model_copy(update={"weight_g": parcel.weight_g + 1})


@workflow("parcelling")
def parcelling(parcel: Ref[Parcel]) -> Ref[Parcel]:
    return repack(parcel)


async def test_a_child_gets_a_model_and_gives_one(shop: Process) -> None:
    @workflow("sending")
    def sending(parcel: Ref[Parcel]) -> Ref[Parcel]:
        packed = parcelling.as_step(parcel)
        weigh(packed)
        return parcelling.as_step(packed, name="parcelling-again")

    run = await sending(shop.container).run(PARCEL, run_id="sending-1")

    assert run.result == PARCEL.model_copy(update={"weight_g": 702})
    assert [(each.name, each.state, each.output) for each in run.steps.values()] == [
        ("parcelling", StepState.COMPLETED, PARCEL.model_copy(update={"weight_g": 701})),
        ("weigh", StepState.COMPLETED, 701),
        ("parcelling-again", StepState.COMPLETED, PARCEL.model_copy(update={"weight_g": 702})),
    ]
    assert run.steps["parcelling"].input == PARCEL


async def test_what_a_child_gives_is_a_copy_of_its_users_own(shop: Process) -> None:
    @step("list")
    async def listed() -> list[int]:
        return [1]

    @step("change")
    async def change(numbers: list[int]) -> list[int]:
        numbers.append(2)
        return numbers

    @workflow("listing")
    def listing() -> Ref[list[int]]:
        return listed()

    @workflow("changing")
    def changing() -> dict[str, Ref[list[int]]]:
        numbers = listing.as_step()
        return {"changed": change(numbers), "again": change.named("again")(numbers)}

    run = await changing(shop.container).run()

    assert run.result == {"changed": [1, 2], "again": [1, 2]}
    assert (await shop.engine.get(f"{run.run_id}:listing")).result == [1]


async def test_the_parts_of_a_structured_result_have_their_types(shop: Process, journal: Journal) -> None:
    @step("look")
    async def look(found: Any) -> None:
        journal.append(f"{type(found['weight']).__name__} {type(found['of']).__name__} {found['of']['at']:%Y-%m-%d}")

    @step("look-at")
    async def look_at(moment: datetime) -> None:
        journal.append(f"{moment:%H}")

    @workflow("measuring")
    def measuring(parcel: Ref[Parcel]) -> object:
        return {"weight": weigh(parcel), "of": {"at": stamp(parcel)}, "list": [parcel.pick(lambda p: p.weight_g), "g"]}

    @workflow("looking")
    def looking(parcel: Ref[Parcel]) -> object:
        found = measuring.as_step(parcel)
        look(found)
        look_at(found.pick(lambda it: it["of"]["at"]))
        return found.pick(lambda it: it["list"])

    run = await looking(shop.container).run(PARCEL)

    assert journal == ["int dict 2026-01-02", "03"]
    assert run.result == [700, "g"]
    assert run.steps["measuring"].output == {"weight": 700, "of": {"at": PARCEL.packed_at}, "list": [700, "g"]}


async def test_a_child_may_take_nothing_and_give_nothing(shop: Process, journal: Journal) -> None:
    note = journal.step("note")

    @workflow("noting")
    def noting() -> None:
        note()

    @workflow("empty")
    def empty(value: Ref[int | None]) -> Ref[int | None]:
        return value

    @workflow("around")
    def around() -> object:
        return [noting.as_step(), empty.as_step(None), empty.as_step(3, name="empty-too")]

    run = await around(shop.container).run(run_id="around-1")
    child = await shop.engine.get("around-1:noting")

    assert run.result == [None, None, 3]
    assert (child.status, child.result, child.input) == (RunStatus.COMPLETED, None, None)
    assert journal == ["note"]


async def test_children_run_beside_steps_and_each_other(shop: Process, journal: Journal) -> None:
    all_three = asyncio.Barrier(3)

    @step("meet")
    async def meet(name: str) -> str:
        await all_three.wait()
        return name

    @workflow("meeting")
    def meeting(name: Ref[str]) -> Ref[str]:
        return meet(name)

    @workflow("party")
    def party() -> object:
        return parallelize(meeting.as_step("a"), meet("b"), meeting.as_step("c", name="other"))

    run = await party(shop.container).run(run_id="party-1")

    assert run.result == ("a", "b", "c")
    assert (await shop.engine.get("party-1:other")).result == "c"


async def test_a_child_in_a_branch_runs_only_if_it_is_taken(shop: Process) -> None:
    @workflow("choosing")
    def choosing(parcel: Ref[Parcel]) -> object:
        with when(parcel, lambda p: p.weight_g > 1_000) as heavy:
            repacked = parcelling.as_step(parcel)
        with heavy.otherwise() as light:
            same = parcelling.as_step(parcel, name="light-parcelling")
        return [heavy.output(repacked), light.output(same)]

    run = await choosing(shop.container).run(PARCEL, run_id="choosing-1")

    assert list(run.steps) == ["light-parcelling"]
    assert run.result[0] is None
    assert run.result[1].weight_g == 701
