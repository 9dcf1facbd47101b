"""The commands that talk to RabbitMQ."""

import json
import secrets
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pika

from tests.integration.commands.process import Sagad, command, document, environment
from tests.services.process import await_true, free_port


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
