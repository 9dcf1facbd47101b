"""What may be shown: everything but passwords, tokens and the like."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/]*@")
_SECRET_PARAMETER = re.compile(r"([?&][\w.-]*(?:password|passwd|secret|token)=)[^&#\s\"']*", re.IGNORECASE)
_PLAIN = frozenset({int, bool, type(None)})
_SECRET_WORDS = ("token", "password", "passwd", "secret", "authorization")


def redacted(text: str) -> str:
    """Return `text` with the passwords of the addresses in it replaced by `***`."""
    if "://" not in text:
        return text
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


@lru_cache(1_024)
def _is_secret(key: str) -> bool:
    return key.lower().replace("-", "_").endswith(_SECRET_WORDS)


def cleaned(key: object, value: Any) -> Any:
    """Return `value` without passwords in addresses and without what a key such as `token` holds."""
    if isinstance(key, str) and _is_secret(key) and value:
        return "***"
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has neither infinity nor NaN
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {str(name): cleaned(name, each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [cleaned(None, each) for each in value]
    return value


def cleaned_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as `cleaned` for each field of a line: most are short texts, at which one look is enough."""
    return {
        key: value
        if ((kind := type(value)) in _PLAIN or (kind is str and "://" not in value)) and not _is_secret(key)
        else cleaned(key, value)
        for key, value in fields.items()
    }


def text_of(value: object) -> str:
    """Return `str(value)` without the passwords in it; of a value that cannot even do that, the type."""
    try:
        return redacted(str(value))
    except Exception:  # noqa: BLE001 - a broken __str__ must not lose the line
        return f"<{type(value).__qualname__}>"
