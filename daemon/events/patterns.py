"""Patterns of event names, as a topic exchange knows them; pure."""

import re

from daemon.events.model import NAME_MAX

_PATTERN = re.compile(r"(\*|#|[A-Za-z0-9_-]+)(\.(\*|#|[A-Za-z0-9_-]+))*")


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it is an event name in which a word may be `*` (one word) or `#` (any number of words).

    Raises:
        ValueError: It is none.
    """
    if len(pattern) > NAME_MAX or _PATTERN.fullmatch(pattern) is None:
        msg = f"{pattern[:80]!r} is no event pattern: join words by dots, '*' for one word, '#' for any number of them."
        raise ValueError(msg)
    return pattern


def matches(pattern: str, name: str) -> bool:
    """Tell whether an event's name fits a topic pattern, as an AMQP topic exchange decides it."""
    if pattern in (name, "#"):
        return True
    if "*" not in pattern and "#" not in pattern:
        return False
    words = name.split(".")
    reached = {0}
    for part in pattern.split("."):
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and part in ("*", words[at])}
        if not reached:
            return False
    return len(words) in reached
