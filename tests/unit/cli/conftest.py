"""`sagad` in this process, on an application in a temporary folder."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import main
from daemon.discovery import PACKAGES
from daemon.log import unconfigure_logging
from tests.unit.cli.application import write_application


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document of a command that succeeded and had nothing else to say."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Sagad = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_application(tmp_path)


@pytest.fixture
def sagad(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Sagad]:
    for name in [name for name in os.environ if name.startswith("SAGAD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    path = list(sys.path)

    def call(*arguments: str, **environ: str) -> Said:
        with monkeypatch.context() as during:
            for name, value in environ.items():
                during.setenv(name, value)
            status = main(arguments)
        for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
            del sys.modules[name]  # the next call is another process to the application
        return Said(status, *capsys.readouterr())

    yield call
    sys.path[:] = path
    unconfigure_logging()
