"""Every command, as its own process, on an application in a temporary folder."""

import json
import os
import pty
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.services.process import await_true, free_port
from tests.unit.cli.application import write, write_application

Sagad = Callable[..., "subprocess.CompletedProcess[str]"]


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


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SAGAD_")}


def document(done: "subprocess.CompletedProcess[str]") -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def handle_events(folder: Path, sagad: Sagad, *, until_dead: int) -> None:
    """Run the daemon until so many deliveries are dead letters."""
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command("run"), cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        await_true(
            lambda: (folder / "daemon.log").read_text(encoding="utf-8").count("event_dead_lettered") >= until_dead,
            timeout_s=30,
            otherwise=lambda: (folder / "daemon.log").read_text(encoding="utf-8"),
        )
    finally:
        process.terminate()
        status = process.wait(30)
    assert status == 0


def test_what_is_wrong_is_told_with_status_78_whatever_was_asked_for(folder: Path, sagad: Sagad) -> None:
    write(folder, "config.toml", '[app]\nname = "shop"\n[broker]\nprefetch = 0\n')
    write(folder, "workflows/second.py", "import daemon\n\nraise RuntimeError('not today')\n")

    for arguments in (["run"], ["check", "--json"]):
        done = sagad(*arguments)

        first, second = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (78, "")
        assert first == "broker.prefetch: must be 1 or more, not 0."
        assert second.startswith("workflows/second.py:3: ")


def test_an_event_goes_its_way_from_before_the_first_start_to_the_dead_letters(folder: Path, sagad: Sagad) -> None:
    published = sagad("publish", "customer.created", "-", "--id", "e1", "--source", "crm", input='{"id": "c1"}')
    waiting = document(sagad("subscribers", "list", "--json"))
    handle_events(folder, sagad, until_dead=2)
    dead = document(sagad("dead-letters", "list", "--json"))
    shown = sagad("dead-letters", "show", "e1", "--subscriber", "greet").stdout
    replayed = document(sagad("dead-letters", "replay", "--id", "e1", "--subscriber", "greet", "--json"))
    discarded = sagad("dead-letters", "discard", "--all").stdout

    assert (published.returncode, published.stdout, published.stderr) == (0, "e1\n", "")
    assert [(each["id"], each["events"], each["ready"], each["dead_letters"]) for each in waiting] == [
        ("greet", ["customer.created"], 1, 0),
        ("audit", ["customer.*"], 1, 0),
    ]
    assert {(each["subscriber"], each["event_id"], each["source"], each["reason"]) for each in dead} == {
        ("greet", "e1", "crm", "rejected"),
        ("audit", "e1", "crm", "rejected"),
    }
    assert "c1 is not welcome" in shown
    assert (replayed, discarded) == ({"replayed": 1}, "Discarded 1 dead letter.\n")


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


def test_a_reader_that_has_seen_enough_is_no_trouble(folder: Path, sagad: Sagad) -> None:
    sagad("workflow", "run", "welcome", '{"name": "Ada"}')
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        command("runs", "list"), cwd=folder, env=environment(), stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def test_on_rabbitmq_an_event_is_published_or_told_to_be_lost(amqp_url: str, sagad: Sagad) -> None:
    app = f"commands-{secrets.token_hex(6)}"
    exchange, queue = f"{app}-events", f"{app}-listener"
    at_broker = {"SAGAD_APP__NAME": app, "SAGAD_BROKER__URL": amqp_url, "SAGAD_BROKER__EXCHANGE": exchange}

    lost = sagad("publish", "customer.created", '{"id": "c1"}', **at_broker)
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, exchange, "customer.*")
        done = sagad("publish", "customer.created", '{"id": "c1"}', "--id", "e1", "--source", "crm", **at_broker)
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        channel.exchange_delete(exchange)
    listed = document(sagad("subscribers", "list", "--json", **at_broker))
    dead = sagad("dead-letters", "list", **at_broker)

    assert (lost.returncode, lost.stdout) == (1, "")
    assert f"no queue on the exchange '{exchange}' is bound to it" in lost.stderr
    assert (done.returncode, done.stdout, done.stderr) == (0, "e1\n", "")
    assert (properties.message_id, properties.app_id, json.loads(body)) == ("e1", "crm", {"id": "c1"})
    assert [each["id"] for each in listed] == ["greet", "audit"]
    assert (dead.returncode, dead.stderr) == (0, "No such dead letters.\n")


def test_a_broker_that_is_away_is_told_in_one_sentence_without_its_password(folder: Path) -> None:
    url = f"amqp://shop:geheim@127.0.0.1:{free_port()}"
    calls = (["publish", "customer.created", '{"id": "c1"}'], ["dead-letters", "list"], ["subscribers", "list"])

    processes = [
        subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=environment() | {"SAGAD_BROKER__URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in calls
    ]
    said = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [1, 1, 1]
    for out, error in said:
        assert (out, error.count("\n")) == ("", 1)
        assert "127.0.0.1" in error
        assert "geheim" not in error


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


def test_subscribers_are_listed_with_what_the_daemon_says_of_them(folder: Path, sagad: Sagad) -> None:
    port = free_port()
    served = {"SAGAD_HTTP__ENABLED": "true", "SAGAD_HTTP__PORT": str(port), "SAGAD_HTTP__TOKEN": "geheim"}
    off = {"SAGAD_SUBSCRIBERS__AUDIT__ENABLED": "false"}
    alone = {each["id"]: each for each in document(sagad("subscribers", "list", "--json", **off))}
    with (folder / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command("run"), cwd=folder, env=environment() | served | off, stdout=log, stderr=log)

    def listed() -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in document(sagad("subscribers", "list", "--json", **served, **off))}

    try:
        await_true(
            lambda: listed()["greet"]["state"] == "consuming",
            timeout_s=30,
            otherwise=lambda: (folder / "daemon.log").read_text(encoding="utf-8"),
        )
        found = listed()
        stranger = document(sagad("subscribers", "list", "--json", **served | {"SAGAD_HTTP__TOKEN": "wrong"}))
        table = sagad("subscribers", "list", **served, **off).stdout
    finally:
        daemon.terminate()
        daemon.wait(30)

    assert {name: each["state"] for name, each in alone.items()} == {"greet": None, "audit": "off"}
    assert {name: each["state"] for name, each in found.items()} == {"greet": "consuming", "audit": "off"}
    assert (found["greet"]["in_flight"], found["greet"]["trouble"], found["audit"]["enabled"]) == (0, "", False)
    assert stranger[0]["state"] is None
    assert "STATE" in table
    assert "geheim" not in table


def test_a_subscriber_is_out_of_service_with_the_reason_why(folder: Path, sagad: Sagad, amqp_url: str) -> None:
    app, port = f"test-{secrets.token_hex(4)}", free_port()
    broker = {"SAGAD_APP__NAME": app, "SAGAD_BROKER__URL": amqp_url, "SAGAD_BROKER__EXCHANGE": f"{app}-events"}
    served = broker | {"SAGAD_HTTP__ENABLED": "true", "SAGAD_HTTP__PORT": str(port)}
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        connection.channel().queue_declare(f"{app}.greet", durable=True)  # not as it should be
    with (folder / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command("run"), cwd=folder, env=environment() | served, stdout=log, stderr=log)

    def listed() -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in document(sagad("subscribers", "list", "--json", **served))}

    try:
        await_true(
            lambda: listed()["audit"]["state"] == "consuming" and listed()["greet"]["trouble"] != "",
            timeout_s=30,
            otherwise=lambda: (folder / "daemon.log").read_text(encoding="utf-8"),
        )
        found = listed()
    finally:
        daemon.terminate()
        daemon.wait(30)
        with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
            channel = connection.channel()
            for each in ("greet", "greet.dead", "audit", "audit.dead"):
                channel.queue_delete(f"{app}.{each}")
            channel.exchange_delete(f"{app}-events")

    assert (found["greet"]["state"], found["audit"]["in_flight"]) == ("out_of_service", 0)
    assert "inequivalent arg" in found["greet"]["trouble"]


def test_the_topology_on_rabbitmq_is_planned_and_applied(folder: Path, sagad: Sagad, amqp_url: str) -> None:
    app = f"test-{secrets.token_hex(4)}"
    broker = {"SAGAD_APP__NAME": app, "SAGAD_BROKER__URL": amqp_url, "SAGAD_BROKER__EXCHANGE": f"{app}-events"}

    def states(done: "subprocess.CompletedProcess[str]") -> set[str]:
        return {item["state"] for item in document(done)["items"]}

    try:
        before = sagad("topology", "plan", "--json", **broker)
        forbidden = sagad("topology", "apply", **broker, SAGAD_BROKER__DECLARE="never")
        by_hand = document(sagad("topology", "plan", "--definitions", **broker, SAGAD_BROKER__DECLARE="never"))
        applied = sagad("topology", "apply", "--json", **broker)
        after = sagad("topology", "plan", "--check", "--json", **broker)
    finally:
        with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
            channel = connection.channel()
            for each in by_hand["queues"]:
                channel.queue_delete(each["name"])
            for each in by_hand["exchanges"]:
                channel.exchange_delete(each["name"])

    assert states(before) == {"missing", "later"}
    assert forbidden.returncode == 1
    assert "broker.declare is 'never', so nothing is declared." in forbidden.stderr
    assert {each["name"] for each in by_hand["queues"]} > {f"{app}.greet", f"{app}.greet.dead", f"{app}.audit"}
    assert states(applied) == states(after) == {"ok"}
    assert any(line.startswith("rabbitmqctl set_policy") for line in document(after)["commands"])
