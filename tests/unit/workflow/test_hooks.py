"""Hooks: where a composition calls them, and what is added to them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from daemon import CompositionError, DefinitionError, Hook, Ref, Retry, StepContext, workflow
from daemon.workflow.nodes import HookNode
from daemon.workflow.workflow import Workflow
from tests.unit.workflow.attempts import Line, Order, take

HERE = "tests/unit/workflow/test_hooks.py"
T = TypeVar("T")
order_validated = Hook[Order]("order-validated")
order_shipped = Hook[Order]("order-shipped")
untyped: Any = Hook("untyped")


def composed() -> Workflow[Order, None]:
    @workflow("hooked")
    def hooked(order: Ref[Order]) -> None:
        take(order)
        order_validated(order)
        untyped(order)

    return hooked


def test_a_hook_is_a_node_with_its_name_that_every_workflow_may_call() -> None:
    @workflow("hooked-too")
    def hooked_too() -> None:
        order_validated(Order(id="1", lines=[]))

    _, node, _ = composed().graph.nodes
    (other,) = hooked_too.graph.nodes

    assert isinstance(node, HookNode)
    assert node.describe() == {"kind": "hook", "name": "order-validated", "inputs": [{"from": "", "path": ""}]}
    assert isinstance(other, HookNode)
    assert other.operand.resolve([]) == Order(id="1", lines=[])
    assert repr(order_validated) == "<hook 'order-validated'>"


def test_handlers_are_steps_in_the_order_of_their_lines_whenever_they_are_added() -> None:
    hooked = composed()

    def first(order: Order, ctx: StepContext) -> str:
        return order.id

    async def second() -> None: ...

    two = hooked.on(order_validated, idempotent=True)(second)
    one = hooked.on(order_validated, retry=Retry(max_attempts=3), timeout=timedelta(seconds=5))(first)

    @one.compensate
    def undo_first(order_id: str) -> None: ...

    here = f"order-validated[{__name__}.{first.__qualname__.removesuffix('first')}"
    assert hooked.handlers == {"order-validated": [one, two]}
    assert (one.name, two.name) == (f"{here}first]", f"{here}second]")
    assert (one.settings.retry.max_attempts, one.settings.timeout) == (3, timedelta(seconds=5))
    assert (two.settings.idempotent, two.settings.compensation_retry.max_attempts) == (True, 5)
    assert one.definition.compensation is not None
    assert one.definition.compensation.fn is undo_first


async def test_a_handler_runs_bare_in_a_test() -> None:
    @composed().on(order_validated)
    async def check(order: Order) -> str:
        return order.id

    assert await check.run(Order(id="17", lines=[])) == "17"


def test_a_handler_that_declares_nothing_gets_what_the_hook_declares() -> None:
    hooked = composed()

    @hooked.on(order_validated)
    def loose(order) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    @hooked.on(untyped)
    def looser(order: Any) -> None: ...

    assert loose.definition.input.type is Order
    assert looser.definition.input.type is Any


def test_handlers_are_no_part_of_the_graph_that_a_run_began_with() -> None:
    hooked = composed()
    before = hooked.graph.hash, hooked.graph.describe()

    hooked.on(order_validated)(lambda order: order)

    assert (hooked.graph.hash, hooked.graph.describe()) == before


def test_a_hook_needs_a_name() -> None:
    nameless: Any = Order
    with pytest.raises(DefinitionError, match=r"'Order Validated' is no name for a hook: .*, like 'order-validated'"):
        Hook[Order]("Order Validated")
    with pytest.raises(DefinitionError, match=r'A hook is made of its name: write Hook\[Order\]\("order-validated"\)'):
        Hook(nameless)


def test_a_hook_of_an_open_type_takes_anything() -> None:
    open_hook: Any = Hook[T]("open")  # type: ignore[valid-type]

    assert open_hook.codec().type is Any


def called_twice(order: Ref[Order]) -> None:
    order_validated(order)
    order_validated(order)


def of_a_live_type(order: Ref[Any]) -> None:
    Hook[StepContext]("live")(order)


def of_another_value(order: Ref[Order]) -> None:
    wrong: Any = Line(sku="1")
    order_validated(wrong)


@pytest.mark.parametrize(
    ("composition", "said"),
    [
        (called_twice, "a hook is called once in a workflow; make another Hook(...)."),
        (of_a_live_type, "the type of <hook 'live'>: "),
        (of_another_value, "the value of <hook 'order-validated'> "),
    ],
    ids=["twice", "live type", "another value"],
)
def test_a_hook_that_no_run_could_call_is_refused_with_its_place(composition: Callable[..., None], said: str) -> None:
    with pytest.raises(CompositionError) as refused:
        workflow("attempt")(composition)

    assert said in str(refused.value)
    assert HERE in str(refused.value)


def test_a_hook_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"hook 'order-validated' was called outside a composition\."):
        order_validated(Order(id="1", lines=[]))


def test_on_takes_a_hook_that_the_workflow_calls() -> None:
    wrong: Any = "order-validated"
    hooked = composed()

    @workflow("hookless")
    def hookless() -> None:
        take(1)

    with pytest.raises(CompositionError) as no_hook:
        hooked.on(wrong)
    with pytest.raises(CompositionError) as not_called:
        hooked.on(Hook[Order]("order-validate"))
    with pytest.raises(CompositionError) as none_called:
        hookless.on(order_shipped)

    assert str(no_hook.value).startswith(f"{HERE}:")
    assert "on takes a hook, not 'order-validated': @my_workflow.on(order_validated)" in str(no_hook.value)
    assert str(not_called.value).startswith(f"{HERE}:")
    assert str(not_called.value).endswith(
        "workflow 'hooked' never calls <hook 'order-validate'>, so no handler would run. Call it in the composition: "
        "my_hook(ref). It calls order-validated, untyped. Did you mean 'order-validated'?"
    )
    assert str(none_called.value).endswith("my_hook(ref). It calls no hook.")


def test_a_function_handles_a_hook_once() -> None:
    hooked = composed()

    def check(order: Order) -> None: ...

    hooked.on(order_validated)(check)
    hooked.on(untyped)(check)
    with pytest.raises(CompositionError) as refused:
        hooked.on(order_validated)(check)

    assert str(refused.value).startswith(f"{HERE}:{check.__code__.co_firstlineno}: ")
    assert "handles <hook 'order-validated'> of workflow 'hooked' already, as defined at " in str(refused.value)


def test_a_handler_is_a_function_of_a_value_and_a_context() -> None:
    def too_many(order: Order, ctx: StepContext, more: str) -> None: ...

    anything: Any = too_many
    with pytest.raises(DefinitionError, match=r"fit a handler, which takes \(value\), \(value, ctx\) or \(\)\."):
        composed().on(order_validated)(anything)
    with pytest.raises(DefinitionError, match=r"a step's timeout is above zero"):
        composed().on(order_validated, timeout=timedelta(0))


def test_another_hook_of_the_same_name_has_the_same_type() -> None:
    with pytest.raises(CompositionError, match=r"with is declared as Order, and that of the hook given here as int\."):
        composed().on(Hook[int](order_validated.name))


def test_a_built_in_function_handles_a_hook() -> None:
    hooked = composed()
    anything: Any = repr

    hooked.on(order_validated)(anything)

    assert [each.name for each in hooked.handlers[order_validated.name]] == ["order-validated[builtins.repr]"]
