"""What the tests' services are."""

from typing import Self


class Stock:
    pass


class Prices:
    def __init__(self, stock: Stock | None = None) -> None:
        self.stock = stock


class Session:
    pass


class Mail:
    async def __aenter__(self) -> Self:
        raise AssertionError("a service is given out as it is")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("and not closed for it")
