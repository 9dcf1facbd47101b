"""`sagad topology` on the embedded broker, which has bindings and no queues to declare."""

from pathlib import Path
from typing import Any

from tests.services.process import free_port
from tests.unit.cli.application import SUBSCRIBERS, write
from tests.unit.cli.conftest import Sagad


def states(document: Any) -> set[tuple[str, str | None, str]]:
    return {(item["name"], item["wanted"].get("routing_key"), item["state"]) for item in document["items"]}


def test_the_plan_tells_what_is_missing_and_applying_brings_it_about(sagad: Sagad) -> None:
    before = sagad("topology", "plan", "--json").document
    checked = sagad("topology", "plan", "--check")
    applied = sagad("topology", "apply", "--json").document
    after = sagad("topology", "plan", "--check", "--json").document

    assert states(before) == {("greet", "customer.created", "missing"), ("audit", "customer.*", "missing")}
    assert checked.status == 1
    assert checked.out.splitlines()[0].split() == ["STATE", "KIND", "NAME", "ROUTING", "KEY"]
    assert checked.out.splitlines()[-1] == "2 missing."
    assert "`sagad topology apply`" in checked.err
    assert states(applied) == states(after)
    assert {item["state"] for item in after["items"]} == {"ok"}


def test_what_a_subscriber_no_longer_takes_is_stale_and_what_a_removed_one_had_an_orphan(
    folder: Path, sagad: Sagad
) -> None:
    write(folder, "subscribers/customers.py", SUBSCRIBERS.replace('name="customer.created"', 'name="customer.made"'))
    sagad("topology", "apply")
    sagad("publish", "customer.made", '{"id": "c1"}')
    write(folder, "subscribers/customers.py", SUBSCRIBERS.replace("async def audit", "async def watch"))

    planned = sagad("topology", "plan")
    applied = sagad("topology", "apply", "--json").document

    assert planned.status == 0
    assert planned.out.splitlines()[-1] == "2 missing, 1 orphan, 1 stale."
    assert "1 of its events wait, 0 are dead letters, and it goes on taking customer.* until" in planned.out
    assert states(applied) == {
        ("audit", None, "orphan"),
        ("greet", "customer.created", "ok"),
        ("watch", "customer.*", "ok"),
    }


def test_applying_has_what_a_removed_subscriber_had_take_nothing_more_and_keeps_what_it_holds(
    folder: Path, sagad: Sagad
) -> None:
    sagad("topology", "apply")
    sagad("publish", "customer.created", '{"id": "c1"}')
    write(folder, "subscribers/customers.py", SUBSCRIBERS.replace("async def audit", "async def watch"))

    sagad("topology", "apply")
    sagad("publish", "customer.created", '{"id": "c2"}')
    planned = sagad("topology", "plan")

    assert "1 of its events wait, 0 are dead letters." in planned.out


def test_a_subscriber_that_is_turned_off_is_no_orphan(sagad: Sagad) -> None:
    sagad("topology", "apply")

    found = sagad("topology", "plan", "--json", SAGAD_SUBSCRIBERS__GREET__ENABLED="false").document

    assert states(found) == {("audit", "customer.*", "ok")}


def test_the_embedded_broker_has_no_definitions(sagad: Sagad) -> None:
    done = sagad("topology", "plan", "--definitions")

    assert (done.status, done.out) == (1, "")
    assert done.err == "There are no definitions: the embedded broker is not configured. See broker.url.\n"


def test_a_broker_that_is_away_is_told_without_the_password(sagad: Sagad) -> None:
    done = sagad("topology", "plan", SAGAD_BROKER__URL=f"amqp://shop:geheim@127.0.0.1:{free_port()}")

    assert (done.status, done.out) == (1, "")
    assert "cannot be reached" in done.err
    assert "geheim" not in done.err
