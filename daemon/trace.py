"""W3C trace context: what ties together everything that one first event, request or firing set off; pure.

sagad records no spans. It carries the trace on, and names each event that it publishes as the parent of what comes of
it.
What has no trace gets one that is derived from its identity: in every repetition, in every process, the same.

    https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
STATE_MAX = 512
# Later versions may append to what version 00 has; ff is none.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Trace(NamedTuple):
    """A trace.

    Attributes:
        id: 32 hexadecimal digits.
        sampled: Whether it is to be recorded, as its beginning says. One that begins here is: otherwise programs that
            record what nobody has decided on would leave it out.
        state: What the systems that record it passed along.
    """

    id: str
    sampled: bool = True
    state: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, Any], *identity: str) -> "Trace":
        """Return the trace that headers tell of; if they tell of none that is valid, one derived from the identity."""
        return cls.given(headers) or cls(_digest(16, *identity))

    @classmethod
    def given(cls, headers: Mapping[str, Any]) -> "Trace | None":
        """Return the trace that headers tell of; None if they tell of none that is valid."""
        found = headers.get(TRACEPARENT)
        match = _TRACEPARENT.fullmatch(found) if isinstance(found, str) else None
        if match is None or (match[4] and match[1] == "00"):
            return None
        state = headers.get(TRACESTATE)
        if not isinstance(state, str) or len(state) > STATE_MAX or not (state.isascii() and state.isprintable()):
            state = ""
        return cls(match[2], bool(int(match[3], 16) & _SAMPLED), state)

    def headers(self, *identity: str) -> dict[str, str]:
        """Return the headers of something in this trace; what it is makes the parent id."""
        found = {TRACEPARENT: f"00-{self.id}-{_digest(8, *identity)}-{self.sampled:02x}"}
        return found | {TRACESTATE: self.state} if self.state else found


def _digest(size: int, *identity: str) -> str:
    return blake2b("\x00".join(identity).encode(errors="backslashreplace"), digest_size=size).hexdigest()
