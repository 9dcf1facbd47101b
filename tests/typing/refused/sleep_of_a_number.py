# Refused by: mypy, pyright, composing

from daemon import sleep, workflow


@workflow("nap")
def nap() -> None:
    sleep(5)  # refused
