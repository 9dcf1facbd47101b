# Refused by: mypy, pyright

from daemon.schedule.job import job


@job("0 0 * * *")  # refused
async def sweep(room: str) -> None:
    """A job's handler gets its context, or nothing."""
