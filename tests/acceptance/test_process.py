"""The daemon as a process: its signals, its broker's absence, systemd, and how idle it is."""

import asyncio
import re
import signal
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime

import httpx

from daemon import Event, EventBus, open_container
from daemon.config import load_config
from tests.acceptance.application import Application
from tests.acceptance.broker import Broker, Door
from tests.acceptance.process import DaemonProcess, until


def publish(daemon: DaemonProcess, name: str, data: dict[str, object], event_id: str) -> None:
    with daemon.api() as api:
        assert api.post("/api/events", json={"name": name, "data": data, "id": event_id}).status_code == 202


def reloaded(daemon: DaemonProcess, event: str = "configuration_reloaded", *, count: int = 1) -> dict[str, object]:
    daemon.send(signal.SIGHUP)
    return daemon.wait_for(event, count=count)


def test_a_hangup_takes_up_retries_options_and_schedules(laboratory: Application) -> None:
    with laboratory.daemon() as daemon:
        publish(daemon, "order.refused", {"id": "order-1"}, "order-1")
        assert daemon.wait_for("event_dead_lettered", event_id="order-1")["attempt"] == 3

        laboratory.configure(
            {"subscribers.refuse-order.retry.max_attempts": 2, "jobs.run-once-a-day.every_s": 1, "log.level": "debug"}
        )
        reloaded(daemon)
        publish(daemon, "order.refused", {"id": "order-2"}, "order-2")
        given_up = daemon.wait_for("event_dead_lettered", event_id="order-2")
        daemon.wait_for("job_finished", job="run-once-a-day")
        laboratory.configure({"options.refuse-order.mended": True, "http.port": 1})
        changed = reloaded(daemon, count=2)
        publish(daemon, "order.refused", {"id": "order-3"}, "order-3")
        daemon.wait_for("event_handled", event_id="order-3", outcome="ok")

    assert given_up["attempt"] == 2
    assert daemon.logged("step_finished", workflow="hello-world"), "debug shows the steps"
    assert changed["needs_restart"] == ["http.port"]


def test_a_subscriber_that_is_turned_off_keeps_its_events_until_it_is_on_again(laboratory: Application) -> None:
    with laboratory.daemon() as daemon:
        laboratory.configure({"subscribers.hello-customer.enabled": False})
        reloaded(daemon)
        publish(daemon, "customer.created", {"id": "c1", "name": "Ada"}, "customer-1")
        publish(daemon, "order.placed", {"id": "order-1", "amount": 1}, "order-1")
        daemon.wait_for("event_handled", event_id="order-1")
        assert not daemon.logged("greeted")

        laboratory.configure({"subscribers.hello-customer.enabled": True})
        reloaded(daemon, count=2)

        daemon.wait_for("greeted", event_id="customer-1")


def test_a_wrong_file_changes_nothing_and_is_logged(laboratory: Application) -> None:
    with laboratory.daemon() as daemon:
        laboratory.configure({"subscribers.refuse-order.retry.max_attempts": 0, "options.refuse-order.mended": True})

        failed = reloaded(daemon, "reload_failed")
        publish(daemon, "order.refused", {"id": "order-1"}, "order-1")

        assert daemon.wait_for("event_dead_lettered", event_id="order-1")["attempt"] == 3
    assert "subscribers.refuse-order.retry.max_attempts" in str(failed["reason"])


def test_it_stays_up_without_its_broker_and_works_as_soon_as_that_is_there(
    laboratory: Application, broker: Broker
) -> None:
    door = Door(broker.url)
    laboratory.configure({**broker.settings, "broker.url": door.url})
    with closing(door), laboratory.daemon(wait=False) as daemon, daemon.api() as api:
        daemon.wait_for("daemon_started")

        away = api.get("/readyz")
        live = api.get("/livez")
        with ThreadPoolExecutor() as meanwhile:  # a client that comes too early is waited for
            early = meanwhile.submit(publish, daemon, "customer.created", {"id": "c1", "name": "Ada"}, "customer-1")
            door.open()
            until(lambda: api.get("/readyz").status_code == httpx.codes.OK, "ready")
            early.result()
        daemon.wait_for("greeted", event_id="customer-1")
        publish(daemon, "customer.created", {"id": "c2", "name": "Grace"}, "customer-2")
        daemon.wait_for("greeted", event_id="customer-2")

    assert away.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert away.json()["checks"]["broker"] == "failing"
    assert away.json()["checks"]["subscriber:hello-customer"] == "failing"
    assert away.json()["checks"]["store"] == "ok"
    assert live.status_code == httpx.codes.OK
    assert len(daemon.logged("broker_lost")) == len(daemon.logged("broker_connected")) == 1
    assert not [each for each in daemon.entries if each["level"] in {"error", "critical"}]
    assert "guest:guest" not in daemon.tail()


def told(systemd: socket.socket, what: str) -> list[str]:
    """Return what the service manager was told, up to the first assignment that begins with `what`."""
    heard: list[str] = []
    while not any(each.startswith(what) for each in heard):
        heard += systemd.recv(4096).decode().split("\n")
    return heard


def test_systemd_is_told_of_every_turn(shipped: Application, systemd: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": str(systemd.getsockname()), "WATCHDOG_USEC": "400000"}
    with shipped.daemon(wait=False, **environment) as daemon:
        started = told(systemd, "READY=1")
        status = started if any(each.startswith("STATUS=") for each in started) else told(systemd, "STATUS=")
        told(systemd, "WATCHDOG=1")
        daemon.send(signal.SIGHUP)
        told(systemd, "RELOADING=1")
        told(systemd, "READY=1")
        daemon.send(signal.SIGTERM)
        stopping = told(systemd, "STOPPING=1") + told(systemd, "EXTEND_TIMEOUT_USEC=")

        assert daemon.wait() == 0
    assert "STATUS=1 subscriber, 1 job; broker connected" in status
    assert "STOPPING=1" in stopping


HANGS = '''
import time

from daemon import Event, SubscriberContext, subscriber


class Hang(Event, name="test.hang"):
    """What the handler does not survive."""


@subscriber(Hang)
async def hang(event: Hang, ctx: SubscriberContext) -> None:
    ctx.log.info("hanging")
    time.sleep(3_600)
'''


def test_a_daemon_that_the_watchdog_ends_says_where_it_hung(shipped: Application) -> None:
    shipped.add("subscribers/hangs.py", HANGS)
    with shipped.daemon() as daemon:
        publish(daemon, "test.hang", {}, "hang-1")
        daemon.wait_for("hanging")

        daemon.send(signal.SIGABRT)

        assert daemon.wait() == -signal.SIGABRT
        assert re.search(r'subscribers/hangs\.py", line 1[34] in hang', daemon.stderr())


def test_an_idle_daemon_rests_and_hears_another_process_at_once(laboratory: Application) -> None:
    ids = [f"customer-{number}" for number in range(7)]
    with laboratory.daemon() as daemon:
        before_s, since = daemon.cpu_s(), time.monotonic()
        time.sleep(4)  # what is measured is that nothing happens
        share = (daemon.cpu_s() - before_s) / (time.monotonic() - since)

        published_s = asyncio.run(greet_from_here(laboratory, ids))
        handled = [daemon.wait_for("event_handled", event_id=each)["timestamp"] for each in ids]

    delays_s = [
        datetime.fromisoformat(at).timestamp() - since_s for at, since_s in zip(handled, published_s, strict=True)
    ]
    assert share < 0.01
    assert statistics.median(delays_s) < 0.1


class CustomerCreated(Event, name="customer.created"):
    """What another program of the same house publishes."""

    id: str
    name: str


async def greet_from_here(application: Application, ids: list[str]) -> list[float]:
    """Publish from this process, and return when each was durable."""
    published_s = []
    async with open_container(load_config(application.config_path)) as container:
        events = await container.aget(EventBus)
        for each in ids:
            await events.publish(CustomerCreated(id="c1", name="Ada"), id=each)
            published_s.append(time.time())
            await asyncio.sleep(0.2)  # so that each finds an idle daemon
    return published_s
