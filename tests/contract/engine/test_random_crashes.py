"""Workflows of chance whose values pass what no JSON stands for: wherever one begins again, it ends the same."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import (
    Event,
    PermanentFailure,
    Ref,
    RunStateError,
    RunStatus,
    StepResponse,
    WorkflowRun,
    emit,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.memory import MemoryStore
from daemon.workflow.naming import names_apart
from daemon.workflow.workflow import Workflow
from tests.contract.engine.mortal import Mortal, living

Refs = list[Ref[Any]]
_INPUT = 5


class Told(Event, name="random-crashes.told"):
    """Something happened."""


class Box:
    """A value that is not stored: what made it is evaluated again after a crash."""

    def __init__(self, *values: Any) -> None:
        self.number = _number([*values])


def _number(value: Any) -> int:
    if isinstance(value, Box):
        return value.number
    if isinstance(value, list):
        return sum(map(_number, value)) % 1000
    return -7 if value is None else int(value)


class _Drawing:
    """One workflow that is being composed by chance, of values that the nodes before gave."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._steps = 0

    def workflow(self, name: str, child: Workflow[int, int] | None) -> Workflow[int, int]:
        kinds = [self._step, self._box, self._loop, self._group, self._block, self._emit]

        def beginning_again(number: Ref[int]) -> Ref[int]:
            refs: Refs = [number]
            for _ in range(self._chance.randint(2, 6)):
                refs += self._chance.choice(kinds)(refs)
            if child is not None:
                refs.append(child.as_step(self._one_of(refs)))
                refs += self._chance.choice(kinds)(refs)
            one, other, last = self._chance.choices(refs, k=3)
            return transform(one, other, last, lambda a, b, c: Box(a, b, c).number)

        with names_apart():
            return workflow(name)(beginning_again)

    def _one_of(self, refs: Refs) -> Ref[int]:
        return transform(self._chance.choice(refs), _number)

    def _drawn_step(self) -> Any:
        self._steps += 1
        does = self._chance.choice(["give", "give", "skip", "break"])

        @step(f"step-{self._steps}", on_failure="continue", idempotent=self._chance.random() < 0.3)
        async def act(number: int) -> StepResponse[int, int]:
            if number % 3 == 0 and does == "break":
                raise PermanentFailure
            if number % 2 == 0 and does == "skip":
                return StepResponse.skip()
            return StepResponse((number * 3 + 1) % 1000)

        return act

    def _step(self, refs: Refs) -> Refs:
        return [self._drawn_step()(self._one_of(refs))]

    def _box(self, refs: Refs) -> Refs:
        one, other = self._chance.choices(refs, k=2)
        return [transform(one, other, Box)]

    def _loop(self, refs: Refs) -> Refs:
        items = transform(self._one_of(refs), lambda number: list(range(number % 4)))
        return [for_each(items, self._drawn_step(), concurrency=self._chance.choice([1, 2, 10]))]

    def _group(self, refs: Refs) -> Refs:
        (one,), (other,) = self._step(refs), self._loop(refs)
        return [*parallelize(one, other)]

    def _block(self, refs: Refs) -> Refs:
        with when(self._chance.choice(refs), lambda value: _number(value) % 2 == 0) as even:
            given = [each for kind in (self._step, self._loop, self._box) for each in kind(refs)]
        with even.otherwise() as odd:
            others = self._loop(refs)
        return [*map(even.output, given), *map(odd.output, others)]

    def _emit(self, refs: Refs) -> Refs:
        emit(transform(self._chance.choice(refs), lambda _: Told()))
        return []


def _end(run: WorkflowRun[int]) -> tuple[RunStatus, int, list[str]]:
    return run.status, run.result, sorted(run.steps)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(chance=st.randoms(use_true_random=False))
async def test_wherever_a_run_begins_again_it_ends_the_same(chance: Random) -> None:
    drawing, clock = _Drawing(chance), ManualClock()
    flow = drawing.workflow("outer", drawing.workflow("inner", None) if chance.random() < 0.5 else None)
    unharmed = await living(MemoryStore(), clock, "unharmed")
    end = _end(await flow(unharmed.container).run(_INPUT, run_id="run"))

    for name in flow.graph.by_name:
        try:
            rerun = await unharmed.engine.rerun("run", from_step=name, wait=True)
        except RunStateError:  # it is no step, or the run did not come to it
            continue
        assert _end(rerun) == end
    died, at = True, 0
    while died:
        at += 1
        for committed in (False, True):
            store = MemoryStore()
            mortal, heir = Mortal(store, clock, at=at, committed=committed), await living(store, clock, "heir")
            died = await mortal.live(flow(mortal.process.container).run(_INPUT, run_id="run"))
            await heir.take_over(flow)
            assert _end(await flow(heir.container).run(_INPUT, run_id="run")) == end
