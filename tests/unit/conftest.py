"""Unit tests make applications of their own: the shipped one, which other tests import, is nothing to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.testing.apart import imports_apart

NOBODYS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _no_application_is_imported() -> Iterator[None]:
    with imports_apart(NOBODYS):
        yield
