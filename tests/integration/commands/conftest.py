"""Every command, as its own process, on an application in a temporary folder."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.commands.process import Sagad, command, environment
from tests.unit.cli.application import write_application


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_application(tmp_path)


@pytest.fixture
def sagad(folder: Path) -> Sagad:
    def call(*arguments: str, input: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(*arguments),
            cwd=folder,
            input=input,
            env=environment() | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call
