"""An event's way, and its subscribers, by command."""

import subprocess
from pathlib import Path
from typing import Any

from tests.integration.commands.process import Sagad, command, document, environment
from tests.services.process import await_true, free_port


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
