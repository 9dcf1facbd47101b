"""A graph made of what is stored of it is the same graph, and says what the present code does not have of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from hypothesis import given, settings
from pydantic import BaseModel, Field

from daemon import (
    Event,
    Hook,
    Ref,
    Retry,
    SkipTo,
    StepResponse,
    emit,
    for_each,
    parallelize,
    sleep,
    sleep_until,
    step,
    transform,
    wait_for_event,
    when,
    workflow,
)
from daemon.workflow.graph import Graph
from daemon.workflow.naming import names_apart
from daemon.workflow.nodes import EmitNode, StepNode
from daemon.workflow.rebuilding import RESULT, rebuilt
from daemon.workflow.workflow import WorkflowBase
from tests.contract.engine.chance import plans
from tests.contract.engine.plan import Node
from tests.contract.engine.stage import Stage, composed
from tests.unit.workflow import graphs


class Line(BaseModel):
    sku: str
    tags: list[str] = []


class Order(BaseModel):
    id: str
    lines: list[Line]
    due: datetime


class Paid(Event, name="rebuilt.paid"):
    order_id: str


validated = Hook[Line]("order-validated")


@step("reserve", retry=Retry(max_attempts=2), on_failure=SkipTo("ship"))
async def reserve(order: Order) -> StepResponse[Line, str]:
    return StepResponse(order.lines[0], order.id)


@reserve.compensate
async def release(_: str) -> None: ...


@step("tag")
async def tag(line: Line) -> Annotated[str, Field(max_length=30)]:
    return line.sku


@step("ship")
async def ship(tags: list[str]) -> dict[str, Line]:
    return {each: Line(sku=each) for each in tags}


@workflow("rebuilt-child")
def child(line: Ref[Line]) -> Ref[str]:
    return tag(line)


@workflow("rebuilt-everything")
def everything(order: Ref[Order]) -> dict[str, Any]:
    reserved = reserve(order)
    with when(order.pick(lambda o: o.lines[-1]), lambda line: line.sku == "gift") as gift:
        wrapped = tag(Line(sku="paper", tags=["a"]))
        sleep(timedelta(milliseconds=1_500))
    with gift.otherwise():
        emit(Paid(order_id="none"), immediately=True)
    tags, packed = parallelize(
        for_each(order.pick(lambda o: o.lines), tag.named("tags"), concurrency=3), child.as_step(reserved, name="pack")
    )
    sleep_until(order.pick(lambda o: o.due))
    sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    validated(Line(sku="x"))
    paid = wait_for_event(Paid, key="any", match=lambda paid: paid.order_id, timeout=timedelta(days=2))
    emit(transform(paid, lambda paid: Paid(order_id=paid.order_id + "-again")))
    shipped = ship(transform(tags, packed, lambda tags, one: [*tags, one], name="all-tags"))
    return {
        "shipped": shipped.pick(lambda s: s["a"].tags[0]),
        "wrapped": gift.output(wrapped),
        "length": gift.output(wrapped.pick(lambda w: w)),
        "list": [reserved.pick(lambda line: line.sku), 1, (paid,)],
    }


def test_a_rebuilt_graph_describes_itself_as_the_one_that_was_stored() -> None:
    for each in (everything, child, graphs.place_order):
        again = rebuilt(each.graph.json, each.graph)

        assert again.lacks == {}
        assert again.graph.json == each.graph.json
        assert again.graph.hash == each.graph.hash
        assert list(again.graph.by_name) == list(each.graph.by_name)
        assert {again.graph.by_name[name].where for name in again.graph.by_name} == {
            node.where for node in each.graph.by_name.values()
        }


def test_a_rebuilt_graph_has_the_values_of_the_stored_one_in_places_of_its_own() -> None:
    again = rebuilt(everything.graph.json, everything.graph).graph

    slots = [node.slot for node in again.by_name.values() if hasattr(node, "slot") and "otherwise" not in node.name]
    assert len(set(slots)) == len(slots)
    assert again.slots == everything.graph.slots
    assert again.handlers is everything.graph.handlers
    emitted = again.by_name["emit-1"]
    assert isinstance(emitted, EmitNode)
    assert emitted.operand.resolve([]) == Paid(order_id="none")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(nodes=plans())
def test_graphs_of_chance_are_rebuilt_as_they_were(nodes: tuple[Node, ...]) -> None:
    graph = composed(nodes, Stage()).graph

    again = rebuilt(graph.json, graph)

    assert (again.graph.json, again.lacks) == (graph.json, {})


@settings(deadline=None, max_examples=50, derandomize=True)
@given(nodes=plans())
def test_a_graph_of_chance_is_rebuilt_without_any_code(nodes: tuple[Node, ...]) -> None:
    graph = composed(nodes, Stage()).graph

    again = rebuilt(graph.json, None)

    code = {name for name, node in graph.by_name.items() if node.describe()["kind"] not in ("parallel", "otherwise")}
    assert set(again.lacks) == code
    assert list(again.graph.by_name) == list(graph.by_name)
    assert [_undone(again.graph, name) for name in code] == [_undone(graph, name) for name in code]


def _undone(graph: Graph, name: str) -> bool:
    node = graph.by_name[name]
    return isinstance(node, StepNode) and node.step.definition.compensation is not None


def _flow(define: Callable[[], WorkflowBase]) -> Graph:
    with names_apart():
        return define().graph


def test_what_is_missing_or_has_changed_is_named() -> None:
    def before() -> WorkflowBase:
        @workflow("rebuilt-names")
        def flow(order: Ref[Order]) -> Ref[str]:
            line = reserve.options(on_failure="rollback")(order)
            with when(line, lambda line: line.sku == "a"):
                ship(["b"])
            with when(line, lambda line: line.sku == "c"):
                emit(Paid(order_id="1"))
            child.as_step(line)
            validated(line)
            transform(line, lambda line: line.tags, name="tags-of-it")
            wait_for_event(Paid, key="k", match=lambda paid: paid.order_id)
            return transform(line.pick(lambda line: line.sku), lambda sku: sku)

        return flow

    def after() -> WorkflowBase:
        @workflow("rebuilt-names")
        def flow(order: Ref[Order]) -> Ref[str]:
            ship(["b"])
            line = reserve.named("reserve-again").options(on_failure="rollback")(order)
            with when(line, lambda line: line.sku == "a"):
                pass
            with when(line, lambda line: line.sku == "d"):
                pass
            wait_for_event(Paid, key="k", match=lambda paid: paid.order_id[1:])
            return transform(line.pick(lambda line: line.sku), lambda sku: sku)

        return flow

    lacks = rebuilt(_flow(before).json, _flow(after)).lacks

    assert lacks == {
        "reserve": "step 'reserve' is missing",
        "when-1": "when-1 has changed",  # it is given what another step gave
        "when-2": "when-2 has changed",
        "rebuilt-child": "child 'rebuilt-child' is missing",
        "order-validated": "hook 'order-validated' is missing",
        "tags-of-it": "tags-of-it is missing",
        "wait-for-event-1": "wait-for-event-1 has changed",
        "transform-1": "transform-1 has changed",
    }


def test_a_step_has_its_present_function_and_options_but_skips_within_its_own_graph() -> None:
    @step("ship", timeout=timedelta(seconds=5), on_failure=SkipTo("bill"))
    async def other(tags: list[str]) -> str:
        return tags[0]

    def before() -> WorkflowBase:
        @workflow("rebuilt-options")
        def flow() -> None:
            ship(["b"])
            tag(Line(sku="c"))

        return flow

    def after() -> WorkflowBase:
        @workflow("rebuilt-options")
        def flow() -> None:
            tag(Line(sku="c"))
            other(["b"])
            tag.named("bill")(Line(sku="d"))

        return flow

    again = rebuilt(_flow(before).json, _flow(after))

    assert again.lacks == {}
    assert [node.name for node in again.graph.nodes] == ["ship", "tag"]
    shipping = next(again.graph.steps())
    assert shipping.step.definition.fn is other.definition.fn
    assert shipping.step.settings.timeout == timedelta(seconds=5)
    assert shipping.step.settings.on_failure == "rollback"


def test_a_step_that_takes_an_input_now_and_a_value_that_does_not_fit_any_more_are_changes() -> None:
    @step("count")
    async def count() -> int:
        return 1

    @step("count")
    async def count_of(_: str) -> int:
        return 1

    @step("tag")
    async def tag_of(_: int) -> str:
        return ""

    def before() -> WorkflowBase:
        @workflow("rebuilt-inputs")
        def flow() -> None:
            count()
            tag(Line(sku="c"))

        return flow

    def after() -> WorkflowBase:
        @workflow("rebuilt-inputs")
        def flow() -> None:
            count_of("x")
            tag_of(1)

        return flow

    lacks = rebuilt(_flow(before).json, _flow(after)).lacks

    assert lacks["count"] == "step 'count' has changed: it takes an input now"
    assert lacks["tag"].startswith("tag has changed: Stored JSON no longer fits int: value: ")


def test_a_result_whose_type_is_gone_is_lacking() -> None:
    def before() -> WorkflowBase:
        class Receipt(BaseModel):
            sku: str

        @step("tag")
        async def receipt(line: Line) -> Receipt:
            return Receipt(sku=line.sku)

        @workflow("rebuilt-result")
        def flow(line: Ref[Line]) -> Ref[Receipt]:
            return receipt(line)

        return flow

    def after() -> WorkflowBase:
        @workflow("rebuilt-result")
        def flow(line: Ref[Line]) -> Ref[str]:
            return tag(line)

        return flow

    lacks = rebuilt(_flow(before).json, _flow(after)).lacks

    name = f"{__name__}:test_a_result_whose_type_is_gone_is_lacking.<locals>.before.<locals>.Receipt"
    assert lacks == {RESULT: f"the type of its result, {name}, is missing"}
