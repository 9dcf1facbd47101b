"""What type checkers accept in `tests/typing` composes, too."""

import runpy
from pathlib import Path

import pytest

from daemon.workflow.naming import names_apart

FILES = sorted((Path(__file__).parents[1] / "typing").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_type_checkers_accept_is_accepted_while_composing(path: Path) -> None:
    with names_apart():
        runpy.run_path(str(path))
