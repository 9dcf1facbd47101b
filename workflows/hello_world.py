"""Two steps and a transform: the smallest workflow that shows how values travel."""

from pydantic import BaseModel

from daemon import Ref, step, transform, workflow


class HelloInput(BaseModel):
    """Whom to greet."""

    name: str


class Greeting(BaseModel):
    """What came of it."""

    message: str


@step("say-hello")
async def say_hello() -> str:
    """Return the greeting's beginning."""
    return "hello"


@step("say-name")
async def say_name(name: str) -> str:
    """Return the greeting's end."""
    return name.strip()


@workflow("hello-world")
def hello_world(hello: Ref[HelloInput]) -> Ref[Greeting]:
    """Greet somebody by name."""
    beginning = say_hello()
    end = say_name(hello.pick(lambda h: h.name))
    return transform(beginning, end, lambda b, e: Greeting(message=f"{b}, {e}"))
