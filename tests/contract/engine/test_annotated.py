"""What `Annotated` says of a value holds wherever it is declared: its bounds, its form as JSON, what tells it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, PlainSerializer, PlainValidator

from daemon import CodecError, Ref, StepResponse, for_each, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.processes import Journal, Process


class Money:
    """No model: its JSON is what is said where it is declared."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


def _money(value: Any) -> Money:
    return value if isinstance(value, Money) else Money(int(value.removesuffix(" ct")))


Price = Annotated[Money, PlainValidator(_money), PlainSerializer(lambda money: f"{money.cents} ct")]
Count = Annotated[int, Field(gt=0)]


class Card(BaseModel):
    kind: Literal["card"] = "card"
    id: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    id: str


Means = Annotated[Card | Cash, Field(discriminator="kind")]


class Cart(BaseModel):
    price: Price
    count: Count = 1
    means: list[Means]


CART = Cart(price=Money(150), means=[Cash(id="a"), Card(id="b")])


@step("count-down")
async def count_down(count: Count) -> Count:
    return count - 1


@workflow("counting-down")
def counting_down(count: Ref[Count]) -> Ref[Count]:
    return count_down(count)


async def test_a_bound_is_kept_by_inputs_and_outputs(shop: Process) -> None:
    down = await counting_down(shop.container).run(2)
    failed = await counting_down(shop.container).run(1, raise_on_error=False)

    assert down.result == 1
    assert "the output of step 'count-down' would not come back from JSON as int" in str(failed.errors[0])
    with pytest.raises(CodecError, match=r"the input of workflow 'counting-down' .* as int: .* greater than 0"):
        await counting_down(shop.container).run(0)


async def test_values_keep_the_form_that_is_said_of_them_over_a_death(store: Store, clock: ManualClock) -> None:
    @step("charge", external=True)
    async def charge(price: Price) -> Price:
        return price

    @step("pay")
    async def pay(means: Means) -> Means:
        return means

    @workflow("charging")
    def charging(cart: Annotated[Ref[Cart], "of the shop"]) -> dict[str, Any]:
        charged = charge(cart.pick(lambda c: c.price))
        paid = for_each(cart.pick(lambda c: c.means), pay)
        return {"charged": charged, "paid": paid, "asked": cart.pick(lambda c: c.price)}

    one, two = Process(store, clock, "process-1"), Process(store, clock, "process-2")
    await one.announce()
    await charging(one.container).run(CART, run_id="cart-1")
    await one.die()
    await two.announce()
    await two.take_over(charging)

    await two.engine.complete_step("cart-1", "charge", Money(149))
    run = await charging(two.container).run(CART, run_id="cart-1", wait=True)
    await two.engine.drain(0)

    assert run.result == {"charged": Money(149), "paid": CART.means, "asked": Money(150)}
    assert run.steps["charge"].input == Money(150)


async def test_a_compensation_gets_its_input_in_the_form_that_is_said_of_it(shop: Process, journal: Journal) -> None:
    @step("charge")
    async def charge(price: Price) -> Annotated[StepResponse[Price, Price], "what was charged"]:
        return StepResponse(price, compensate_input=Money(price.cents + 1))

    @charge.compensate
    async def refund(price: Price) -> None:
        journal.append(f"refund {price.cents}")

    broken = journal.failing()

    @workflow("refunding")
    def refunding(price: Ref[Price]) -> None:
        charge(price)
        broken()

    await refunding(shop.container).run(Money(150), raise_on_error=False)

    assert journal == ["break", "refund 151"]
