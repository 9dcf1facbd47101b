"""Several applications in one test process: what one of them imported and defined is nothing to the next."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from daemon.discovery import PACKAGES, elsewhere
from daemon.workflow.naming import names_apart


@contextmanager
def imports_apart(folder: Path) -> Iterator[None]:
    """Let the application in `folder` be imported inside the block, whichever one is imported outside of it.

    What is imported from this folder already stays, so that a test has the same classes as the application. Afterwards
    the modules, `sys.path` and the names of workflows are what they were before.
    """
    modules, path = _imported(), list(sys.path)
    for package in PACKAGES:
        if elsewhere(package, folder / package) is not None:
            _forget(package)
    try:
        with names_apart():
            yield
    finally:
        for package in PACKAGES:
            _forget(package)
        sys.modules.update(modules)
        sys.path[:] = path


def _imported(*packages: str) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in (packages or PACKAGES)}


def _forget(package: str) -> None:
    for name in _imported(package):
        del sys.modules[name]
