"""What is wrong with the configuration, and where it is taken from."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.commands.process import Sagad, command, environment
from tests.unit.cli.application import write


def test_what_is_wrong_is_told_with_status_78_whatever_was_asked_for(folder: Path, sagad: Sagad) -> None:
    write(folder, "config.toml", '[app]\nname = "shop"\n[broker]\nprefetch = 0\n')
    write(folder, "workflows/second.py", "import daemon\n\nraise RuntimeError('not today')\n")

    for arguments in (["run"], ["check", "--json"]):
        done = sagad(*arguments)

        first, second = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (78, "")
        assert first == "broker.prefetch: must be 1 or more, not 0."
        assert second.startswith("workflows/second.py:3: ")


def test_storage_that_cannot_be_opened_is_told_in_one_sentence(folder: Path, sagad: Sagad) -> None:
    write(folder, "var", "a file, where the folder has to be")

    done = sagad("runs", "list")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "sagad.db" in done.stderr


def test_the_unit_is_printed_or_refused(folder: Path, sagad: Sagad) -> None:
    done = sagad("systemd")
    asked_elsewhere = sagad("systemd", SAGAD_STORAGE__URL="sqlite:////var/lib/sagad-shop/sagad.db")

    if done.returncode == 78:  # this very environment is below a home folder
        assert done.stdout == ""
        assert "which the service cannot see" in done.stderr
    else:
        assert f"--config {folder / 'config.toml'} run" in done.stdout
        assert "[Service]" in done.stdout
    assert asked_elsewhere.stdout == done.stdout, "the service does not have our variables"


def test_it_works_from_another_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    for arguments in (
        ("--config", str(folder / "config.toml"), "check"),
        ("check", "--config", f"{folder}/config.toml"),
    ):
        done = subprocess.run(
            command(*arguments), cwd=elsewhere, env=environment(), capture_output=True, text=True, check=False
        )

        assert done.returncode == 0
        assert "workflows/welcome.py" not in done.stderr
        assert "no mistakes" in done.stdout
