# Refused by: mypy, pyright, composing

from daemon import Ref, emit, workflow


@workflow("tell")
def tell(text: Ref[str]) -> None:
    emit(text)  # refused
