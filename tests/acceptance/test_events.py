"""Events from everywhere, on either bus: what is good is handled, what is not is answered and kept apart."""

import json
import secrets
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Shop
from tests.acceptance.process import DaemonProcess


def new_id(what: str = "customer") -> str:
    return f"{what}-{secrets.token_hex(4)}"


def by_http(shop: Shop, name: str, data: dict[str, Any], event_id: str) -> None:
    with shop.daemon.api() as api:
        answer = api.post("/api/events", json={"name": name, "data": data, "id": event_id})
    assert answer.status_code == httpx.codes.ACCEPTED
    assert answer.json() == {"id": event_id}


def by_command(shop: Shop, name: str, data: dict[str, Any], event_id: str) -> None:
    done = shop.application.sagad("publish", name, json.dumps(data), "--id", event_id)
    assert done.stdout == f"{event_id}\n"


def by_another_program(shop: Shop, name: str, data: dict[str, Any], event_id: str) -> None:
    """Publish plain JSON with nothing but a routing key, and an id where there is a broker to carry it."""
    if shop.broker is None:
        by_command_from_standard_input(shop, name, data, event_id)
    else:
        shop.broker.publish(name, json.dumps(data).encode(), message_id=event_id)


def by_command_from_standard_input(shop: Shop, name: str, data: dict[str, Any], event_id: str) -> None:
    done = shop.application.sagad("publish", name, "-", "--id", event_id, stdin=json.dumps(data))
    assert done.stdout == f"{event_id}\n"


def good_event_is_handled(shop: Shop) -> None:
    event_id = new_id()
    by_http(shop, "customer.created", {"id": event_id, "name": "Grace"}, event_id)
    shop.daemon.wait_for("event_handled", event_id=event_id, outcome="ok")


def dead_letter(shop: Shop, event_id: str) -> dict[str, Any]:
    shop.daemon.wait_for("event_dead_lettered", event_id=event_id)
    found: dict[str, Any] = shop.application.sagad_json("dead-letters", "show", event_id)
    return found


@pytest.mark.parametrize("publish", [by_http, by_command, by_another_program])
def test_a_customer_is_greeted_through_the_workflow_whoever_publishes(shop: Shop, publish: Any) -> None:
    event_id = new_id()

    publish(shop, "customer.created", {"id": "c1", "name": f"Ada {event_id}"}, event_id)

    greeted = shop.daemon.wait_for("greeted", event_id=event_id)
    handled = shop.daemon.wait_for("event_handled", event_id=event_id)
    finished = shop.daemon.wait_for("run_finished", event_id=event_id)
    assert greeted["message"] == f"hello, Ada {event_id}"
    assert greeted["subscriber"] == handled["subscriber"] == "hello-customer"
    assert (handled["outcome"], handled["attempt"], handled["event_name"]) == ("ok", 1, "customer.created")
    assert (finished["workflow"], finished["outcome"]) == ("hello-world", "completed")
    assert {"app", "timestamp", "level", "logger", "duration_ms"} <= handled.keys()
    assert handled["app"] == shop.application.name
    assert handled["timestamp"].endswith("Z")

    listed = shop.application.sagad_json("runs", "list", "--text", event_id)["items"]
    with shop.daemon.api() as api:
        found = api.get("/api/runs", params={"text": event_id}).json()
    assert listed == found["items"]
    (run,) = listed
    assert run["run_id"] == finished["run_id"]
    assert run["status"] == "completed"
    assert run["trigger"]["kind"] == "event"
    assert run["trigger"]["id"] == event_id
    assert run["result"] == {"message": f"hello, Ada {event_id}"}
    assert [(step["name"], step["state"], step["output"]) for step in run["steps"].values()] == [
        ("say-hello", "completed", "hello"),
        ("say-name", "completed", f"Ada {event_id}"),
    ]


def test_plain_json_without_any_property_is_an_event(shop: Shop) -> None:
    name = new_id("Ada")
    body = {"id": "c1", "name": name}

    if shop.broker is not None:
        shop.broker.publish("customer.created", json.dumps(body).encode())
    else:
        shop.application.sagad("publish", "customer.created", json.dumps(body))

    greeted = shop.daemon.wait_for("greeted", message=f"hello, {name}")
    assert greeted["event_id"]


def test_the_same_event_published_twice_is_handled_once(shop: Shop) -> None:
    event_id = new_id()
    data = {"id": "c1", "name": event_id}
    by_http(shop, "customer.created", data, event_id)
    shop.daemon.wait_for("event_handled", event_id=event_id, outcome="ok")

    by_http(shop, "customer.created", data, event_id)

    shop.daemon.wait_for("event_handled", event_id=event_id, outcome="duplicate")
    assert len(shop.daemon.logged("greeted", event_id=event_id)) == 1
    assert len(shop.application.sagad_json("runs", "list", "--text", event_id)["items"]) == 1


def test_a_payload_that_does_not_fit_is_a_dead_letter_that_names_every_wrong_field(shop: Shop) -> None:
    event_id = new_id("order")

    by_another_program(shop, "order.placed", {"amount": "many"}, event_id)

    letter = dead_letter(shop, event_id)
    assert letter["reason"] == "invalid_payload"
    assert "id: Field required" in letter["error"]
    assert "amount: Input should be a valid integer" in letter["error"]
    assert letter["data"] == {"amount": "many"}
    assert not shop.daemon.logged("event_retried", event_id=event_id)
    good_event_is_handled(shop)


def test_what_is_no_json_is_a_dead_letter(shop: Shop) -> None:
    if shop.broker is None:
        assert "is no JSON" in shop.application.sagad("publish", "order.placed", "{not json", status=2).stderr
    else:
        event_id = new_id("order")
        shop.broker.publish("order.placed", b"{not json", message_id=event_id)

        assert dead_letter(shop, event_id)["reason"] == "undecodable"
        with shop.daemon.api() as api:
            letters = api.get("/api/dead-letters", params={"subscriber": "keep-ledger"}).json()["items"]
        assert [each["undecodable"] for each in letters if each["event_id"] == event_id] == ["{not json"]
    good_event_is_handled(shop)


def test_a_handler_that_raises_is_retried_by_its_policy_and_then_given_up(shop: Shop) -> None:
    event_id = new_id("order")

    by_another_program(shop, "order.refused", {"id": event_id}, event_id)

    letter = dead_letter(shop, event_id)
    retried = shop.daemon.logged("event_retried", event_id=event_id)
    assert [each["attempt"] for each in retried] == [1, 2]
    assert [each["delay_s"] for each in retried] == [0.02, 0.02]
    (dead,) = shop.daemon.logged("event_dead_lettered", event_id=event_id)
    assert (dead["reason"], dead["attempt"]) == ("attempts_exhausted", 3)
    assert dead["error"] == f"RuntimeError: no room for {event_id}"
    assert letter["reason"] == "attempts_exhausted"
    assert letter["attempts"] == 3
    assert f"RuntimeError: no room for {event_id}" in letter["traceback"]
    good_event_is_handled(shop)


def test_dead_letters_are_shown_replayed_and_discarded_by_command(shop: Shop) -> None:
    replayed, discarded = new_id("order"), new_id("order")
    for each in (replayed, discarded):
        by_http(shop, "order.refused", {"id": each}, each)
        shop.daemon.wait_for("event_dead_lettered", event_id=each)

    listed = shop.application.sagad_json("dead-letters", "list", "--subscriber", "refuse-order")
    table = shop.application.sagad("dead-letters", "list").stdout
    again = shop.application.sagad_json("dead-letters", "replay", replayed)
    shop.daemon.wait_for("event_dead_lettered", event_id=replayed, count=2)
    gone = shop.application.sagad_json("dead-letters", "discard", discarded)

    assert {replayed, discarded} <= {each["event_id"] for each in listed}
    assert replayed in table
    assert again == {"replayed": 1}
    assert [each["attempt"] for each in shop.daemon.logged("event_retried", event_id=replayed)] == [1, 2, 1, 2]
    assert gone == {"discarded": 1}
    left = [each["event_id"] for each in shop.application.sagad_json("dead-letters", "list")]
    assert replayed in left
    assert discarded not in left
    assert shop.application.sagad("dead-letters", "show", discarded, status=1).stderr.count("\n") == 1


def test_dead_letters_are_replayed_and_discarded_by_http(shop: Shop) -> None:
    event_id = new_id("order")
    by_http(shop, "order.refused", {"id": event_id}, event_id)
    shop.daemon.wait_for("event_dead_lettered", event_id=event_id)
    choice = {"subscriber": "refuse-order", "ids": [event_id]}

    with shop.daemon.api() as api:
        again = api.post("/api/dead-letters/replay", json=choice)
        shop.daemon.wait_for("event_dead_lettered", event_id=event_id, count=2)
        gone = api.post("/api/dead-letters/discard", json=choice)
        letters = api.get("/api/dead-letters").json()["items"]
        unknown = api.post("/api/dead-letters/replay", json={"subscriber": "refuse-oder", "all": True})

    assert (again.status_code, again.json()) == (200, {"replayed": 1})
    assert (gone.status_code, gone.json()) == (200, {"discarded": 1})
    assert event_id not in [each["event_id"] for each in letters]
    assert unknown.status_code == httpx.codes.NOT_FOUND
    assert "Did you mean 'refuse-order'?" in unknown.json()["detail"]


def test_queues_and_their_dead_letters_are_counted(shop: Shop) -> None:
    event_id = new_id("order")
    by_http(shop, "order.refused", {"id": event_id}, event_id)
    shop.daemon.wait_for("event_dead_lettered", event_id=event_id)

    listed = {each["id"]: each for each in shop.application.sagad_json("subscribers", "list")}
    with shop.daemon.api() as api:
        found = {each["id"]: each for each in api.get("/api/subscribers").json()["items"]}

    assert listed.keys() == found.keys() == {"hello-customer", "keep-ledger", "refuse-order", "workflows"}
    assert listed["refuse-order"]["dead_letters"] >= 1
    assert found["refuse-order"]["dead_letters"] >= 1


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/workflows/hello-word/runs", b'{"input": {"name": "Ada"}}', 404, "Did you mean 'hello-world'?"),
        ("/api/workflows/hello-world/runs", b'{"input": {"nam": "Ada"}}', 422, "input.name"),
        ("/api/workflows/hello-world/runs", b'{"input": ', 422, "The body is no JSON"),
        ("/api/events", b"{not json", 422, "The body is no JSON"),
        ("/api/events", b'{"nane": "customer.created"}', 422, "3 fields are wrong: name, data, nane."),
        ("/api/events", b'{"name": "customer.created", "data": "' + b"x" * 2_000_000 + b'"}', 413, "1,048,576 bytes"),
    ],
)
def test_a_request_that_cannot_be_served_is_answered_and_the_next_event_handled(
    shop: Shop, path: str, body: bytes, status: int, said: str
) -> None:
    with shop.daemon.api() as api:
        answer = api.post(path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert said in problem["detail"]
    good_event_is_handled(shop)


def test_readiness_shows_the_parts_and_no_error_texts(shop: Shop) -> None:
    with shop.daemon.api() as api:
        ready, live = api.get("/readyz"), api.get("/livez")

    assert ready.status_code == live.status_code == httpx.codes.OK
    checks = ready.json()["checks"]
    assert {"broker", "store", "scheduler", "subscriber:hello-customer"} <= checks.keys()
    assert set(checks.values()) == {"ok"}
    assert "broker" not in live.json()["checks"]


def no_surprises(daemon: DaemonProcess) -> None:
    assert not [each for each in daemon.entries if each["level"] in {"error", "critical"}]


def test_nothing_of_all_this_is_an_error_of_the_daemon(shop: Shop) -> None:
    no_surprises(shop.daemon)
