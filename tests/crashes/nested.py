"""Scenarios of what is inside of a run: children, handlers of hooks, events."""

from daemon import (
    Event,
    Hook,
    Ref,
    RunStatus,
    StepContext,
    emit,
    parallelize,
    step,
    transform,
    workflow,
)
from tests.crashes.ledger import DO, UNDO, Ledger
from tests.crashes.scenario import Plan, Scenario, act, always, ends, named


class Happened(Event, name="it.happened"):
    """Something happened."""

    what: str


def children(*, fails: bool) -> Scenario:
    deep, one, two = act("deep"), act("one"), act("two")
    a, b, d = act("a"), act("b"), act("d", fails=always() if fails else lambda _: None)

    @workflow(named("grandchild", fails=fails))
    def grandchild(given: Ref[str]) -> Ref[str]:
        return deep(given)

    @workflow(named("child", fails=fails))
    def child(given: Ref[str]) -> Ref[str]:
        return two(grandchild.as_step(one(given)))

    @workflow(named("parent", fails=fails))
    def flow() -> Ref[str]:
        found = child.as_step(a(None))
        b(found)
        return transform(d(found), found, lambda x, y: x + y)

    plan = ("a", "one", "deep", "two", "b", "d")
    return Scenario(f"children, fails: {fails}", flow, plan, ends(fails=fails))


def children_in_a_group(*, fails: bool) -> Scenario:
    one, two, three, beside = act("one"), act("two"), act("three"), act("beside")
    a, d = act("a"), act("d", fails=always() if fails else lambda _: None)

    @workflow(named("left", fails=fails))
    def left(given: Ref[str]) -> Ref[str]:
        return two(one(given))

    @workflow(named("right", fails=fails))
    def right(given: Ref[str]) -> Ref[str]:
        return three(given)

    @workflow(named("around", fails=fails))
    def flow() -> Ref[str]:
        first = a(None)
        found, _, _ = parallelize(left.as_step(first), right.as_step(first), beside(first))
        return d(found)

    plan: Plan = ("a", frozenset({("one", "two"), "three", "beside"}), "d")
    return Scenario(f"children in a group, fails: {fails}", flow, plan, ends(fails=fails))


def only_a_child() -> Scenario:
    """Nothing of the run at the top is to be undone, but for what its child did."""
    one, two, broken = act("one"), act("two"), act("broken", fails=always(), undoable=False)

    @workflow("undone-child")
    def child() -> Ref[str]:
        return two(one(None))

    @workflow("around-undone-child")
    def flow() -> None:
        broken(child.as_step())

    return Scenario("only a child is undone", flow, ("one", "two", "broken"), frozenset({RunStatus.REVERTED}))


def failing_child() -> Scenario:
    one, broken, three, a = act("one"), act("broken", fails=always()), act("three"), act("a")

    @workflow("failing-child")
    def child() -> Ref[str]:
        return broken(one(None))

    @workflow("beside-child")
    def beside() -> Ref[str]:
        return three(None)

    @workflow("failing-parent")
    def flow() -> None:
        a(None)
        beside.as_step(name="before")
        parallelize(child.as_step(), act("four")(None))

    plan: Plan = ("a", "three", frozenset({("one", "broken"), "four?"}))
    return Scenario("a child fails", flow, plan, frozenset({RunStatus.REVERTED}), exact=False)


def hooks(*, fails: bool) -> Scenario:
    a, d = act("a"), act("d", fails=always() if fails else lambda _: None)
    hook = Hook[str]("here")

    @workflow(named("hooks", fails=fails))
    def flow() -> Ref[str]:
        first = a(None)
        hook(first)
        return d(first)

    async def _note(kind: str, name: str, ctx: StepContext) -> None:
        await ctx.container.get(Ledger).note(kind, name, ctx)

    @flow.on(hook)
    async def one(given: str, ctx: StepContext) -> None:
        await _note(DO, "one", ctx)

    @one.compensate
    async def undo_one(given: None, ctx: StepContext) -> None:
        await _note(UNDO, "one", ctx)

    @flow.on(hook)
    async def two(given: str, ctx: StepContext) -> str:
        await _note(DO, "two", ctx)
        return "two"

    @two.compensate
    async def undo_two(given: str | None, ctx: StepContext) -> None:
        await _note(UNDO, "two", ctx)

    return Scenario(f"hooks, fails: {fails}", flow, ("a", "one", "two", "d"), ends(fails=fails))


def events(*, fails: bool) -> Scenario:
    @step("telling")
    async def telling(given: str, ctx: StepContext) -> str:
        ctx.emit(Happened(what="first"))
        await ctx.container.get(Ledger).note(DO, "telling", ctx)
        ctx.emit(Happened(what="second"))
        ctx.emit(Happened(what="at once"), immediately=True)
        return given

    @telling.compensate
    async def untelling(given: str | None, ctx: StepContext) -> None:
        ctx.emit(Happened(what="undone"), immediately=True)
        await ctx.container.get(Ledger).note(UNDO, "telling", ctx)

    a, d = act("a"), act("d", fails=always() if fails else lambda _: None)

    @workflow(named("telling-child", fails=fails))
    def child(given: Ref[str]) -> Ref[str]:
        emit(transform(given, lambda text: Happened(what=f"child {text}")))
        return telling(given)

    @workflow(named("events", fails=fails))
    def flow() -> Ref[str]:
        found = child.as_step(a(None))
        emit(Happened(what="now"), immediately=True)
        return d(found)

    plan, published = ("a", "telling", "d"), 3 if fails else 5
    return Scenario(f"events, fails: {fails}", flow, plan, ends(fails=fails), published=published)


def scenarios() -> list[Scenario]:
    """Return all of them."""
    both = [children, children_in_a_group, hooks, events]
    return [*[make(fails=fails) for make in both for fails in (False, True)], failing_child(), only_a_child()]
