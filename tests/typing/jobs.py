"""A job keeps the type of the function that it was made of."""

from datetime import timedelta
from typing import assert_type

from daemon.schedule.job import Job, JobContext, job


@job("0 0 * * *", name="night", timezone="Europe/Berlin", overlap="queue", catch_up="all")
async def with_context(ctx: JobContext) -> None:
    ctx.log.info("swept", attempt=ctx.attempt)


@job(timedelta(hours=1))
async def without() -> int:
    return 1


assert_type(with_context, Job[[JobContext]])
assert_type(without, Job[[]])


async def call(ctx: JobContext) -> None:
    await with_context(ctx)
    await without()
