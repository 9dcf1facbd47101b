"""How the command is called: its help, its options, and what is wrong with a call."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import daemon
from daemon.cli import main

COMMANDS = ("run", "check", "publish", "workflow", "runs", "subscribers", "dead-letters", "systemd")


def test_without_arguments_it_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([])

    shown = capsys.readouterr().out
    assert status == 0
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("group", ["workflow", "runs", "subscribers", "dead-letters"])
def test_a_noun_alone_shows_what_can_be_done_with_it(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([group])

    shown = capsys.readouterr().out
    assert status == 0
    assert "list" in shown


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--version"])

    assert status == 0
    assert capsys.readouterr().out == "sagad 0.1.0\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["check", "--nonsense"],
        ["publish"],
        ["publish", "order placed", "{}"],
        ["publish", "order.placed", "{oops"],
        ["publish", "order.placed", "NaN"],
        ["workflow", "run", "greet", "{oops"],
        ["workflow", "run", "greet", "{}", "--run-id", "a b"],
        ["workflow", "graph", "greet", "--format", "png"],
        ["runs", "list", "--status", "sleeping"],
        ["runs", "list", "--since", "yesterday"],
        ["runs", "list", "--limit", "0"],
        ["runs", "list", "--after", "garbage"],
        ["runs", "list", "--trigger", "events"],
        ["runs", "rerun"],
        ["runs", "rerun", "r1", "--input", "{oops"],
        ["runs", "fail-step", "r1", "ask"],
        ["dead-letters", "replay"],
        ["dead-letters", "discard"],
    ],
)
def test_a_wrong_call_is_told_on_stderr_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = main(arguments)

    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert "Error" in said.err


def test_malformed_json_is_told_with_where_it_ends_to_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["publish", "order.placed", '{"id": }'])

    assert "line 1 column 8" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [["--config", "{}", "runs", "list"], ["runs", "--config", "{}", "list"], ["runs", "list", "--config", "{}"]],
)
def test_the_configuration_may_be_named_anywhere(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "elsewhere.toml"
    file.write_text("[app]\nname = 1\n", encoding="utf-8")

    status = main([argument.format(file) for argument in arguments])

    assert status == 78
    assert capsys.readouterr().err == "app.name: must be a text in quotes, not 1.\n"


def test_a_file_that_is_not_there_is_a_mistake_in_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "broken.py").write_text("1 / 0", encoding="utf-8")

    status = main(["check", "--config", str(tmp_path / "config.toml")])

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 78
    assert line.startswith(f"{tmp_path}/config.toml: there is no such file.")


@pytest.mark.parametrize("command", [["check"], ["runs", "list"]])
@pytest.mark.parametrize("hidden", ["config.toml", "."])
def test_a_file_that_may_not_be_read_is_a_mistake_in_the_configuration(
    hidden: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--help"])
    capsys.readouterr()

    with TemporaryDirectory() as folder:  # which others may enter, unlike pytest's
        file = Path(folder, "config.toml")
        file.write_text('[app]\nname = "shop"\n', encoding="utf-8")
        Path(folder).chmod(0o755)
        Path(folder, hidden).chmod(0)
        with nobody_special():
            status = main([*command, "--config", str(file)])
        Path(folder).chmod(0o755)

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 78
    assert line == f"{file}: cannot be read: Permission denied."


@contextmanager
def nobody_special() -> Iterator[None]:
    """Be another user where we are root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.setresuid(nobody, nobody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_the_help_is_there_without_the_web_framework_and_the_brokers_client() -> None:
    code = (
        "import sys; from daemon.cli import main; main(['--help']); "
        "print([name for name in ('fastapi', 'uvicorn', 'aio_pika', 'asyncpg', 'httpx') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_another_package_of_this_name_is_told_in_one_line(tmp_path: Path) -> None:
    ours = Path(daemon.__file__).parent
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "__init__.py").write_text(f"__path__.append({str(ours)!r})\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "daemon", "check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "belongs to another package, such as python-daemon" in done.stderr
