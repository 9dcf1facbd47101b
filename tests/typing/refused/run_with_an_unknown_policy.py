# Refused by: mypy, pyright

from daemon import Ref, workflow


@workflow("place-order")
def place_order(number: Ref[int]) -> None: ...


async def main() -> None:
    await place_order().run(1, on_existing="replace")  # refused
