# Refused by: mypy, pyright, composing

from daemon import step, workflow


@step("count")
async def count() -> int:
    return 1


flow = workflow("counting", timeout=60)  # refused
