"""What commands are on a terminal, and on a pipe that nobody reads."""

import os
import pty
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.integration.commands.process import Sagad, command, environment


def test_a_reader_that_has_seen_enough_is_no_trouble(folder: Path, sagad: Sagad) -> None:
    sagad("workflow", "run", "welcome", '{"name": "Ada"}')
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        command("runs", "list"), cwd=folder, env=environment(), stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def on_a_terminal(folder: Path, *arguments: str, typed: str = "") -> tuple[int, str]:
    """Call a command whose standard streams are a terminal, and return its status and what that shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment() | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        with suppress(OSError):  # which is how a terminal says that nobody is left
            while part := os.read(ours, 65_536):
                shown += part
    os.close(ours)
    return process.returncode, shown.decode()


def test_a_terminal_gets_colour_and_what_the_steps_log(folder: Path) -> None:
    status, shown = on_a_terminal(folder, "workflow", "run", "broken", '{"name": "Ada"}')
    listed = on_a_terminal(folder, "runs", "list")[1]

    assert status == 1
    assert "run_finished" in shown
    assert "rolled back: reserve" in shown
    assert "\x1b[33mreverted" in listed


def test_a_terminal_is_asked_before_something_is_deleted_for_good(folder: Path) -> None:
    refused = on_a_terminal(folder, "dead-letters", "discard", "--all", typed="n\n")
    agreed = on_a_terminal(folder, "dead-letters", "discard", "--subscriber", "greet", typed="y\n")
    unasked = on_a_terminal(folder, "dead-letters", "discard", "--all", "--yes")

    assert refused[0] == 1
    assert "Delete all dead letters for good? [y/N]" in refused[1]
    assert "Discarded" not in refused[1]
    assert agreed[0] == 0
    assert "Delete all dead letters of greet for good? [y/N]" in agreed[1]
    assert unasked == (0, "Discarded 0 dead letters.\r\n")
