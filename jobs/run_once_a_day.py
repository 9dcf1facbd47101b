"""Runs the greeting's workflow at midnight."""

from daemon import JobContext, job
from workflows.hello_world import HelloInput, hello_world


@job("0 0 * * *", name="run-once-a-day")
async def run_once_a_day(ctx: JobContext) -> None:
    """Greet the night."""
    run = await hello_world(ctx.container).run(HelloInput(name="night"))
    ctx.log.info("greeted", message=run.result.message)
