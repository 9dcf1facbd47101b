# Refused by: mypy, pyright

from daemon import StepResponse, step


@step("reserve")
async def reserve(sku: str) -> StepResponse[int, str]:
    return StepResponse(1, compensate_input=1)  # refused
