"""Headers of messages: what ours are called, and which are neither the broker's nor ours."""

import math
from typing import Any

from daemon.events.rabbitmq.codec import Properties

ATTEMPTS = "x-sagad-attempts"  # tries made so far; a waiting message comes back as the next one
FIRST_SEEN = "x-sagad-first-seen"
EXCHANGE = "x-sagad-exchange"
ROUTING_KEY = "x-sagad-routing-key"
INTERRUPTED = "x-sagad-interrupted"  # it comes from the store, and the process that had it there died
REASON = "x-sagad-reason"
ERROR = "x-sagad-error"
TRACEBACK = "x-sagad-traceback"
DEAD_AT = "x-sagad-dead-at"

_OURS = b"x-sagad-"
# What the broker noted about earlier deaths: kept on a message that is published again, it would take a retry for an
# endless cycle and drop it.
_DEATHS = (b"x-death", b"x-first-death-", b"x-last-death-", b"x-delivery-count", b"x-acquired-count")
_COPIES = (b"CC", b"BCC")  # would address a copy to others


def is_technical(key: bytes) -> bool:
    """Tell whether a header is the broker's business or ours, not the application's."""
    return key.startswith((_OURS, *_DEATHS)) or key in _COPIES


def scalars(properties: Properties) -> dict[str, Any]:
    """Return the headers that are plain values and nobody's business but the application's."""
    plain = {}
    for key in properties.headers:
        if is_technical(key) or key.startswith(b"cloudEvents"):
            continue
        name = key.decode(errors="replace")
        value = properties.header(name)
        if is_plain(value) and "\x00" not in f"{name}{value}":
            plain[name] = value
    return plain


def is_plain(value: Any) -> bool:
    """Tell whether a header's value is one that also JSON has."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
