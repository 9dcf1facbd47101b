"""What has to be seen of the run of a plan: a small model, which knows nothing of the engine.

The model is told which effect (a call of a step or of a compensation) ends next, and says which effects are then going
on. Its rules are those of a saga, in four functions: a sequence goes on until something fails (`_block`), what is done
at the same time ends together (`_abreast`), a step leaves a trail of what undoes it (`_step`), and a trail is walked
back (`_undo`). Everything takes `then`: what happens after it, with the names of the nodes to skip to, if any.
"""

from collections.abc import Callable, Sequence
from functools import partial

from tests.contract.engine.plan import (
    CONTINUE,
    ROLLBACK,
    Child,
    Loop,
    Node,
    Parallel,
    Step,
    Transform,
    Wait,
    When,
    awaiting,
    doing,
    undoing,
)
from tests.contract.engine.seen import Group, Nested, Seen, Trail, Undo

To = frozenset[str]  # names of nodes up to which everything is skipped: up to the last of them
NOWHERE: To = frozenset()
Then = Callable[[To], None]


class Model:
    """One run of a plan.

    Attributes:
        going: The effects that are going on, each with what happens when it ends.
        late: Those of them that end because their time is over.
        awaited: Those of them that end when an event comes, or the run fails.
        forward: Whether the run still goes forward, or waits for what runs to end.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.going: dict[str, Callable[[], None]] = {}
        self.late: set[str] = set()
        self.awaited: dict[str, str] = {}
        self.run = Seen()
        self.forward = True
        self._failing = self._cancelled = self._out_of_time = False
        self._trail: Trail = []
        self._block(nodes, self.run, self._trail, self._turn)

    def end(self, effect: str) -> None:
        """Have an effect end as its plan says."""
        self.going.pop(effect)()

    def cancel(self) -> None:
        """Have somebody ask for the end of the run."""
        self._cancelled = True
        self._begin_to_fail()

    def run_out(self) -> None:
        """Have the run's own time be over: whatever runs counts as timed out."""
        self._failing = self._out_of_time = True
        for effect in list(self.going):
            self.end(effect)

    # --- forward ---

    def _block(self, nodes: Sequence[Node], run: Seen, trail: Trail, then: Then, to: To = NOWHERE) -> None:
        ahead = list(nodes)
        while ahead and (to := to - _names(ahead[0])):
            ahead.pop(0)
        if ahead and not self._failing:
            self._node(ahead[0], run, trail, lambda to: self._block(ahead[1:], run, trail, then, to))
        else:
            then(to)

    def _node(self, node: Node, run: Seen, trail: Trail, then: Then) -> None:
        match node:
            case Step():
                self._step(node, run, trail, then)
            case Wait():
                self._wait(node, run, then)
            case Transform():
                self._compute(node.name, run, then, fails=node.fails)
            case When(holds=None):
                self._compute(node.name, run, then, fails=True)
            case When():
                self._block(node.nodes if node.holds else node.otherwise, run, trail, then)
            case Loop():
                self._group(node.calls, node.concurrency, run, trail, then)
            case Parallel():
                self._group(node.members, len(node.members), run, trail, then)
            case Child():
                run.states[node.name] = "running"
                child = run.children[node.name] = Seen(parent=run)
                trail.append(nested := Nested(child, node.name, run, []))
                self._block(node.nodes, child, nested.trail, lambda _: self._leave(nested, then))

    def _wait(self, wait: Wait, run: Seen, then: Then) -> None:
        effect = awaiting(wait.name)
        run.states[wait.name] = "waiting"
        self.awaited[effect] = wait.name

        def ended() -> None:
            run.states[wait.name] = "skipped" if self._failing else "completed"
            then(NOWHERE)

        self.going[effect] = ended

    def _begin_to_fail(self) -> None:
        """Wait for nothing any more, but for what runs."""
        self._failing = True
        for effect in self.going.keys() & self.awaited.keys():
            self.end(effect)

    def _leave(self, nested: Nested, then: Then) -> None:
        """Go on after a child: it has completed, unless the run fails."""
        nested.child.status = "running" if self._failing else "completed"
        nested.run.states[nested.name] = "failed" if self._failing else "completed"
        then(NOWHERE)

    def _compute(self, name: str, run: Seen, then: Then, *, fails: bool) -> None:
        if fails:
            self._begin_to_fail()
            run.note(name, "invoke")
        then(NOWHERE)

    def _group(self, members: Sequence[Node], limit: int, run: Seen, trail: Trail, then: Then) -> None:
        trails: list[Trail] = [[] for _ in members]
        trail.append(Group(trails))
        works = [partial(self._node, member, run, own) for member, own in zip(members, trails, strict=True)]
        self._abreast(works, limit, then)

    def _abreast(self, works: Sequence[Callable[[Then], None]], limit: int, then: Then, *, stops: bool = True) -> None:
        """Do at most so many things at the same time; once the run fails, no further one is begun if that `stops`."""
        ahead, going, is_beginning, skips = list(works), 0, False, NOWHERE

        def begin() -> None:
            nonlocal going, is_beginning
            if is_beginning:
                return  # what was begun has ended at once
            is_beginning = True
            while ahead and going < limit and not (stops and self._failing):
                going += 1
                ahead.pop(0)(ended)
            is_beginning = False
            if going == 0:
                then(skips)

        def ended(to: To) -> None:
            nonlocal going, skips
            going, skips = going - 1, skips | to
            begin()

        begin()

    def _step(self, step: Step, run: Seen, trail: Trail, then: Then, attempt: int = 1) -> None:
        gives = step.gives[attempt - 1]
        run.states[step.name] = "running"
        effect = doing(step.name, attempt)
        if gives == "late":
            self.late.add(effect)

        def ended() -> None:
            if self._out_of_time:
                self._fail(step, run, trail, "None", is_known=False)
                then(NOWHERE)
            elif gives in {"ok", "skip"}:
                run.states[step.name] = "completed" if gives == "ok" else "skipped"
                trail.extend([Undo(step, "output", run)] if gives == "ok" else [])
                then(NOWHERE)
            elif gives in {"fail", "late"} and attempt < len(step.gives) and not self._failing:
                self._step(step, run, trail, then, attempt + 1)
            else:
                run.note(step.name, "invoke")
                given = "partial" if gives == "partial" else "None"
                self._fail(step, run, trail, given, is_known="late" not in step.gives[:attempt])
                if step.on_failure == ROLLBACK:
                    self._begin_to_fail()
                then(frozenset({step.on_failure} - {ROLLBACK, CONTINUE}))

        self.going[effect] = ended

    def _fail(self, step: Step, run: Seen, trail: Trail, given: str, *, is_known: bool) -> None:
        run.states[step.name] = "failed"
        if given != "None" or step.takes_none:
            trail.append(Undo(step, given, run))
        elif step.undo and not is_known:
            run.doubts.append(step.name)

    # --- back ---

    def _turn(self, _: To) -> None:
        """Nothing runs any more: the run has completed, or turns back."""
        self.forward = False
        if not self._failing:
            self.run.status = "completed"
            return
        if self._out_of_time:
            self.run.note("", "invoke")
        for run in self.run.family():
            for name in run.doubts:
                run.note(name, "compensate")
        self._back(self._trail, self._finish)

    def _finish(self, _: To) -> None:
        self.run.status = "failed" if self.run.gave_up else "cancelled" if self._cancelled else "reverted"

    def _back(self, trail: Trail, then: Then) -> None:
        if trail:
            self._undo(trail[-1], lambda _: self._back(trail[:-1], then))
        else:
            then(NOWHERE)

    def _undo(self, each: Undo | Group | Nested, then: Then) -> None:
        match each:
            case Undo():
                self._compensate(each, then)
            case Group(trails=trails):
                self._abreast([partial(self._back, own) for own in trails], len(trails), then, stops=False)
            case Nested():
                self._back(each.trail, lambda _: self._reverted(each, then))

    def _reverted(self, each: Nested, then: Then) -> None:
        child, run = each.child, each.run
        child.status = "failed" if child.gave_up else "reverted"
        if child.gave_up:
            run.states[each.name] = "compensation_failed"
        elif child.compensated:
            run.states[each.name] = "compensated"
            run.compensated.append(each.name)
        then(NOWHERE)

    def _compensate(self, each: Undo, then: Then, attempt: int = 1) -> None:
        step, run = each.step, each.run
        if not step.undo:
            then(NOWHERE)
            return
        gives = step.undo[attempt - 1]

        def ended() -> None:
            if gives == "fail" and attempt < len(step.undo):
                self._compensate(each, then, attempt + 1)
                return
            if gives == "ok":
                run.states[step.name] = "compensated"
                run.compensated.append(step.name)
            else:
                run.states[step.name] = "compensation_failed"
                run.note(step.name, "compensate")
            then(NOWHERE)

        self.going[undoing(step.name, attempt, each.given)] = ended


def _names(node: Node) -> set[str]:
    return {node.name, *(member.name for member in node.members)} if isinstance(node, Parallel) else {node.name}
