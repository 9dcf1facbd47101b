# Refused by: mypy, pyright, composing

from daemon import Ref, sleep_until, workflow


@workflow("nap")
def nap(moment: Ref[str]) -> None:
    sleep_until(moment)  # refused
