# Refused by: mypy, pyright, composing

from daemon import step


decorator = step("charge", retry=3)  # refused
