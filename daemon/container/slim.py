"""Imports svcs without its integrations of web frameworks, which it would load for every framework that is installed.

With FastAPI that costs a third of a second and a warning on stderr, in every command. They load when they are used.
"""

import importlib
import sys
from contextlib import suppress
from typing import Any

_INTEGRATIONS = {"aiohttp", "fastapi", "flask", "starlette"}


def _load(name: str) -> Any:
    if name in _INTEGRATIONS:
        with suppress(ImportError):
            return importlib.import_module(f"svcs.{name}")
    raise AttributeError(f"module 'svcs' has no attribute {name!r}")


if "svcs" not in sys.modules:
    _hidden: dict[str, Any] = dict.fromkeys(f"svcs.{name}" for name in _INTEGRATIONS)
    sys.modules.update(_hidden)  # None there makes an import fail as if nothing were installed
    try:
        import svcs
    finally:
        for _name in _hidden:
            del sys.modules[_name]
    svcs.__dict__["__getattr__"] = _load
