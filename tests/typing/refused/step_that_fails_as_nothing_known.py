# Refused by: mypy, pyright, composing

from daemon import step


count = step("count", on_failure="ignore")  # refused
