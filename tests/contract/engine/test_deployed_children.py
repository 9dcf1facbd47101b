"""Runs with children that an older deployment began."""

from typing import Any

from daemon import (
    RunStatus,
)
from tests.contract.engine.deploys import Fleet, bare, begun, flow, plain
from tests.contract.engine.processes import Journal


async def test_a_child_goes_on_with_its_own_graph_and_one_that_was_not_begun_has_the_present_one(fleet: Fleet) -> None:
    before, after = Journal(), Journal()

    def application(journal: Journal, inner: str) -> Any:
        child = plain(journal, inner, name="inner")

        def compose() -> None:
            bare(journal, "o")()
            child.as_step(name="first")
            child.as_step(name="second")

        return flow(compose)

    await begun(fleet, application(before, "A-b"))
    await fleet.up("new", application(after, "A-xb"))
    await fleet.look()
    await fleet.wake()
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert ("".join(before), "".join(after)) == ("oa", "baxb")


async def test_a_child_whose_node_is_missing_holds_the_run_at_the_top(fleet: Fleet) -> None:
    before, after = Journal(), Journal()

    def application(journal: Journal, inner: str) -> Any:
        child = plain(journal, inner, name="inner")
        return flow(lambda: child.as_step(name="first"))

    await begun(fleet, application(before, "A-b"))
    await fleet.up("new", application(after, "A-"))
    await fleet.grace()
    assert (await fleet.run()).waiting_for == "held: step 'b' is missing"

    await fleet.up("none", plain(Journal(), "x"))
    await fleet.down("new")
    await fleet.grace()
    told = "held: step 'a' is missing; child 'first' is missing; step 'b' is missing"
    assert (await fleet.run()).waiting_for == told

    await fleet.up("back", application(after, "bA"))
    await fleet.look()
    await fleet.wake()
    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert after == ["b"]
