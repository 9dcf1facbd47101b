# Refused by: mypy, pyright, composing

from daemon import Ref, transform, workflow


@workflow("count-it")
def count_it() -> Ref[str]:
    return transform("text", str.upper)  # refused
