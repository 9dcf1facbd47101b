"""Greets every new customer."""

from daemon import Event, SubscriberContext, subscriber
from workflows.hello_world import HelloInput, hello_world


class CustomerCreated(Event, name="customer.created"):
    """A customer has signed up."""

    id: str
    name: str


@subscriber(CustomerCreated, id="hello-customer")
async def greet_customer(event: CustomerCreated, ctx: SubscriberContext) -> None:
    """Run the greeting's workflow, and log what came of it."""
    run = await hello_world(ctx.container).run(HelloInput(name=event.name))
    ctx.log.info("greeted", message=run.result.message)
