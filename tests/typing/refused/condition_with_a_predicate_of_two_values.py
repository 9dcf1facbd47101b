# Refused by: mypy, pyright, composing

from daemon import Ref, when, workflow


@workflow("place-order")
def place_order(number: Ref[int]) -> None:
    with when(number, lambda a, b: a > b):  # refused
        pass
