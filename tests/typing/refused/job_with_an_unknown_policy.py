# Refused by: mypy, pyright

from daemon.schedule.job import JobContext, job


@job("0 0 * * *", overlap="wait")  # refused
async def sweep(ctx: JobContext) -> None:
    """The overlap is skip, queue or allow."""
