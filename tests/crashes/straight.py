"""Scenarios of what a run consists of: sequences, groups, loops, conditions."""

from itertools import cycle
from typing import Any

from daemon import (
    PermanentFailure,
    Ref,
    RunStatus,
    SkipTo,
    StepContext,
    StepResponse,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)
from tests.crashes.ledger import DO, Ledger
from tests.crashes.scenario import Plan, Scenario, act, always, ends, named


def sequence(*, fails: bool) -> Scenario:
    a, b, c, d = act("a"), act("b", takes_none=False), act("c"), act("d", fails=always() if fails else lambda _: None)

    @workflow(named("sequence", fails=fails))
    def flow(given: Ref[str]) -> Ref[str]:
        first = a(given)
        second = b(transform(first, given, lambda x, y: x + y))
        c(second.pick(lambda text: text))
        return transform(d(second), first, lambda x, y: x + y)

    return Scenario(f"sequence, fails: {fails}", flow, ("a", "b", "c", "d"), ends(fails=fails), given="given")


def group(*, fails: bool) -> Scenario:
    a, d = act("a"), act("d", fails=always() if fails else lambda _: None)
    members = [act(name) for name in ("x", "y", "z")]

    @workflow(named("group", fails=fails))
    def flow() -> Ref[str]:
        a(None)
        x, y, _ = parallelize(*[each(None) for each in members])
        return d(transform(x, y, lambda one, two: one + two))

    return Scenario(f"group, fails: {fails}", flow, ("a", frozenset("xyz"), "d"), ends(fails=fails))


def failing_member() -> Scenario:
    """Of the members of a group one fails, which leaves something to undo; the others may have begun, or not."""
    a, never = act("a"), act("never")
    x, y, z = act("x"), act("y", fails=always(PermanentFailure("no", compensate_input="part")), leaves=True), act("z")

    @workflow("failing-member")
    def flow() -> None:
        a(None)
        parallelize(x(None), y(None), z(None))
        never(None)

    plan = ("a", frozenset({"x?", "y", "z?"}))
    return Scenario("a member of a group fails", flow, plan, frozenset({RunStatus.REVERTED}), exact=False)


def conditions(*, fails: bool) -> Scenario:
    a, b, c, d = act("a"), act("b"), act("c"), act("d", fails=always() if fails else lambda _: None)
    no = act("no")

    @workflow(named("conditions", fails=fails))
    def flow() -> Ref[str]:
        first = a(None)
        with when(first, lambda text: text == "a-output") as yes:
            b(first)
            with when(first, lambda text: text == "other"):
                no(first)
        with yes.otherwise():
            no.named("no-2")(first)
        with when(first, lambda text: text == "other") as other:
            no.named("no-3")(first)
        with other.otherwise():
            c(first)
        return d(first)

    return Scenario(f"conditions, fails: {fails}", flow, ("a", "b", "c", "d"), ends(fails=fails))


def loop(*, fails: bool, concurrency: int) -> Scenario:
    a, item = act("a"), act("item")
    d = act("d", fails=always() if fails else lambda _: None)

    @workflow(named(f"loop-{concurrency}", fails=fails))
    def flow() -> Ref[str]:
        items = transform(a(None), lambda text: [f"{text}-{number}" for number in range(3)])
        return d(transform(for_each(items, item, concurrency=concurrency), lambda outputs: outputs[2]))

    calls: Any = [f"item[{number}]" for number in range(3)]
    back: Plan = ("a", frozenset(calls), "d")
    plan: Plan = ("a", tuple(calls), "d") if concurrency == 1 else back
    return Scenario(f"loop of {concurrency}, fails: {fails}", flow, plan, ends(fails=fails), back=back)


def tolerance(*, fails: bool) -> Scenario:
    a, b = act("a"), act("b", fails=always(), on_failure="continue")
    c = act("c", fails=always(PermanentFailure("no", compensate_input="part")), leaves=True, on_failure=SkipTo("d"))
    never, d = act("never"), act("d")
    e = act("e", fails=always() if fails else lambda _: None)

    @workflow(named("tolerance", fails=fails))
    def flow() -> Ref[str]:
        first = a(None)
        b(first)
        c(first)
        never(first)
        d(first)
        return e(first)

    return Scenario(f"tolerance, fails: {fails}", flow, ("a", "b", "c", "d", "e"), ends(fails=fails))


def skipping(*, fails: bool) -> Scenario:
    """Idempotent steps, one that skips itself, one without a compensation."""

    @step("skips")
    async def skips(given: str, ctx: StepContext) -> StepResponse[str, str]:
        await ctx.container.get(Ledger).note(DO, "skips", ctx)
        return StepResponse.skip()

    a, b, c = act("a", idempotent=True), act("b", idempotent=True), act("c")
    d, e = act("d", undoable=False, idempotent=True), act("e", fails=always() if fails else lambda _: None)

    @workflow(named("skipping", fails=fails))
    def flow() -> Ref[str]:
        first = b(a(None))
        skips(first)
        c(first)
        d(first)
        return e(first)

    plan = ("a", "b", "skips", "c", "d", "e")
    return Scenario(
        f"idempotent and skipping steps, fails: {fails}",
        flow,
        plan,
        ends(fails=fails),
        repeatable=frozenset("abd"),
        stuck=frozenset({"skips", "d"}),
    )


def failing_transform(*, in_a_child: bool) -> Scenario:
    """What fails is no step: a transform, after which nothing is running."""
    a, b = act("a"), act("b")

    def divide(_: str) -> str:
        return str(1 // 0)

    @workflow("dividing")
    def dividing() -> Ref[str]:
        return transform(b(None), divide)

    @workflow(f"failing-transform-{int(in_a_child)}")
    def flow() -> Ref[str]:
        a(None)
        return act("never")(dividing.as_step() if in_a_child else transform(b(None), divide))

    return Scenario(f"a transform fails, in a child: {in_a_child}", flow, ("a", "b"), ends(fails=True))


def changing_mind() -> Scenario:
    """A predicate that says something else whenever it is asked, which none should: it is asked once."""
    a, yes, no, d = act("a"), act("yes"), act("no"), act("d")
    coin = cycle([True, False])

    @workflow("changing-mind")
    def flow() -> Ref[str]:
        with when(a(None), lambda _: next(coin)) as heads:
            yes(None)
            yes.named("yes-2")(None)
        with heads.otherwise():
            no(None)
            no.named("no-2")(None)
        return d(None)

    plan = ("a", frozenset({("yes?", "yes-2?"), ("no?", "no-2?")}), "d")
    either = frozenset({"yes", "no"})
    return Scenario("a predicate that changes its mind", flow, plan, ends(fails=False), exact=False, either=either)


def scenarios() -> list[Scenario]:
    """Return all of them."""
    both = [sequence, group, conditions, tolerance, skipping]
    found = [make(fails=fails) for make in both for fails in (False, True)]
    found += [loop(fails=fails, concurrency=at_once) for fails in (False, True) for at_once in (1, 2)]
    found += [failing_transform(in_a_child=inside) for inside in (False, True)]
    return [*found, failing_member(), changing_mind()]
