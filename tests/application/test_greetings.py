"""The greeting: on an event, and every night."""

from datetime import timedelta

from daemon import Event
from daemon.testing import Harness
from subscribers.greet_customer import CustomerCreated
from workflows.hello_world import Greeting


class Nameless(Event, name="customer.created"):
    """What a program publishes that knows an older form of the event."""

    id: str


def greetings(app: Harness) -> list[str]:
    return [line["message"] for line in app.log if line["event"] == "greeted"]


async def test_a_new_customer_is_greeted(app: Harness) -> None:
    await app.publish(CustomerCreated(id="c1", name="Ada"))
    await app.settle()

    [run] = app.runs(workflow="hello-world")
    assert (run.status, run.result) == ("completed", Greeting(message="hello, Ada"))
    assert greetings(app) == ["hello, Ada"]
    assert app.dead_letters == []


async def test_a_customer_that_is_announced_twice_is_greeted_once(app: Harness) -> None:
    for _ in range(2):
        await app.publish(CustomerCreated(id="c1", name="Ada"), id="signup-c1")
        await app.settle()

    assert greetings(app) == ["hello, Ada"]


async def test_a_customer_without_a_name_is_a_dead_letter(app: Harness) -> None:
    await app.publish(Nameless(id="c2"))
    await app.settle()

    [letter] = app.dead_letters
    assert (letter.subscriber, letter.reason) == ("hello-customer", "invalid_payload")
    assert "name: Field required" in letter.error
    assert app.runs() == []


async def test_the_night_is_greeted_every_midnight(app: Harness) -> None:
    await app.advance(timedelta(days=3))

    assert greetings(app) == ["hello, night"] * 3
