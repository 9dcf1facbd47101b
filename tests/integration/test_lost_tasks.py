"""A task whose exception nobody looked at fails the run, although no test noticed: aiormq#53, aiormq#163."""

import subprocess
import sys
from pathlib import Path

import pytest

LOSES_A_TASK = """
import asyncio

async def boom():
    raise ValueError("lost")

async def test_that_looks_fine():
    asyncio.get_running_loop().create_task(boom())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
"""


def test_a_run_in_which_a_task_s_exception_was_never_retrieved_fails_and_shows_it(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    (tmp_path / "test_lost.py").write_text(LOSES_A_TASK)
    options = ["-p", "tests.conftest", "-c", str(pytestconfig.inipath), "--rootdir", str(tmp_path)]

    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert "1 passed" in run.stdout
    assert "ValueError: lost" in run.stdout
