# Refused by: mypy, pyright, composing

from datetime import timedelta

from daemon import Ref, sleep, workflow


@workflow("nap")
def nap(delay: Ref[timedelta]) -> None:
    sleep(delay)  # refused
