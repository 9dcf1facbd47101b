"""Runs by command: started, looked at, left to the daemon."""

import signal
import subprocess
from pathlib import Path

from tests.integration.commands.process import Sagad, command, document, environment
from tests.services.process import await_true


def test_a_run_is_started_listed_shown_and_drawn(sagad: Sagad) -> None:
    result = sagad("workflow", "run", "welcome", "-", "--run-id", "r1", input='{"name": "Ada"}')
    failed = sagad("workflow", "run", "broken", '{"name": "Ada"}', "--run-id", "r2")
    found = document(sagad("runs", "list", "--json"))
    shown = sagad("runs", "show", "r2").stdout
    listed = document(sagad("workflow", "list", "--json"))
    drawn = sagad("workflow", "graph", "welcome", "--format", "svg").stdout

    assert (result.returncode, result.stdout, result.stderr) == (0, '"hello, Ada (3)"\n', "")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Workflow 'broken' (run 'r2') failed at 'break'")
    assert failed.stderr.endswith("RuntimeError: out of order; rolled back: reserve.\n")
    assert failed.stderr.count("\n") == 1
    assert [(each["run_id"], each["status"]) for each in found["items"]] == [("r2", "reverted"), ("r1", "completed")]
    assert "RuntimeError: out of order" in shown
    assert [each["name"] for each in listed] == ["welcome", "broken", "hanging"]
    assert drawn.startswith("<svg ")


def _as_in_the_foreground() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests in the background has their children ignore it


def test_ctrl_c_ends_the_command_and_leaves_the_run_to_a_daemon(folder: Path, sagad: Sagad) -> None:
    process = subprocess.Popen(
        command("workflow", "run", "hanging", "--run-id", "h1"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_in_the_foreground,  # noqa: PLW1509 - this process has no other threads that matter here
    )
    await_true((folder / "hanging").exists, timeout_s=30, otherwise=lambda: "the step did not start")

    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)

    assert (process.returncode, out, error) == (130, "", "")
    assert document(sagad("runs", "show", "h1", "--json"))["status"] == "running"


def test_a_run_that_nobody_waited_for_is_taken_over_by_the_daemon(folder: Path, sagad: Sagad) -> None:
    started = sagad("workflow", "run", "hanging", "--no-wait", "--run-id", "h1")
    (folder / "hanging").unlink(missing_ok=True)

    log = (folder / "daemon.log").open("wb")
    with log, subprocess.Popen(command("run"), cwd=folder, env=environment(), stdout=log, stderr=log) as process:
        try:
            await_true((folder / "hanging").exists, timeout_s=30, otherwise=lambda: "the daemon did not take it over")
        finally:
            process.kill()

    assert (started.returncode, started.stdout, started.stderr) == (0, "h1\n", "")
