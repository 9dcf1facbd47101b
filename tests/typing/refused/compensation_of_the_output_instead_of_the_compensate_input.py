# Refused by: mypy, pyright, composing

from pydantic import BaseModel

from daemon import StepResponse, step


class Reservation(BaseModel):
    id: str


@step("reserve")
async def reserve(sku: str) -> StepResponse[Reservation, str]:
    return StepResponse(Reservation(id=sku), compensate_input=sku)


@reserve.compensate  # refused
async def release(reservation: Reservation) -> None: ...
