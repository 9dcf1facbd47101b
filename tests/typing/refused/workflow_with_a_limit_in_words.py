# Refused by: mypy, pyright, composing

from daemon import workflow


decorator = workflow("place-order", max_concurrency="three")  # refused
