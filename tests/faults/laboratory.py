"""A broker and a network to treat badly, daemons behind them, a publisher beside them, and the ledger of it all."""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.acceptance.application import Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import DaemonProcess, answered, until
from tests.faults.ledger import EVERYBODY, PLACED, Balance, Ledger, Pair
from tests.faults.network import Network
from tests.faults.publisher import Publisher, repeating
from tests.services import RabbitContainer, RabbitNode
from tests.soak.fleet import Fleet

T = TypeVar("T")
Node = RabbitNode | RabbitContainer
HEARTBEAT_S = 2
HANDLERS = ("left", "right", "straight", "echo", "enter-order")
_PATIENCE_S = 120.0  # on a machine that does much else


class Laboratory:
    """One application on a broker, from outside.

    Args:
        told: Is told what happened, and in how many seconds everything was handled again.
        settings: More keys of config.toml.
    """

    def __init__(
        self,
        node: Node,
        folder: Path,
        told: Callable[[str], object],
        *,
        daemons: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.node = node
        self.broker = Broker(node.url)
        self.network = Network(node.url)
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.gate = folder / "gate"
        self.mended = folder / "mended"
        self.publisher = Publisher(node.url, self.broker.exchange)
        self.orders: list[str] = []
        self._told = told
        self._folder = folder
        self._daemons = daemons
        self._settings = settings or {}
        self._numbers = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.network)
            options = {"ledger": str(self.ledger.path), "gate": str(self.gate), "mended": str(self.mended)}
            settings = {
                **self.broker.settings,
                "broker.url": self.network.url,
                "broker.heartbeat_s": HEARTBEAT_S,
                "storage.url": f"sqlite:///{self._folder / 'sagad.db'}",
                "daemon.shutdown_grace_s": 8,
                **{f"options.{handler}.{key}": value for handler in HANDLERS for key, value in options.items()},
                **self._settings,
            }
            self.application = Application(
                self._folder / "app", settings, parts=(Path(__file__).parent / "application",)
            )
            self.fleet = Fleet(self.application, self._daemons)
            stack.callback(self.fleet.end)
            stack.callback(self.publisher.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.network.accept()
        self.network.thaw()
        self._stack.close()

    # --- what is there ---

    def start(self) -> None:
        """Start the daemons."""
        for number in self.fleet.numbers:
            self.fleet.start(number)

    @property
    def daemon(self) -> DaemonProcess:
        """The first daemon."""
        return self.fleet.daemon(0)

    def queue(self, subscriber: str) -> str:
        """Return the name of a subscriber's queue."""
        return f"{self.broker.app}.{subscriber}"

    def kill_broker(self) -> None:
        """End the broker as a power cut would.

        It first has to know by heart which queues it has: 3.10 writes down late that there is a new quorum queue, and
        one of which it only remembers the name is broken for good.
        """
        self.node.ctl("eval", "[dets:sync(Each) || Each <- dets:all()].")
        self.node.kill()

    @contextmanager
    def patience(self, timeout_s: int) -> Iterator[None]:
        """Have the broker wait so long for an acknowledgement, on channels opened here, until it restarts."""
        self._set_patience(timeout_s, tick_s=1)
        try:
            yield
        finally:
            self._set_patience(1_800, tick_s=60)

    def _set_patience(self, timeout_s: int, *, tick_s: int) -> None:
        keys = {"consumer_timeout": timeout_s * 1000, "channel_tick_interval": tick_s * 1000}
        self.node.ctl("eval", ", ".join(f"application:set_env(rabbit, {key}, {ms})" for key, ms in keys.items()) + ".")

    def replace_queue(self, subscriber: str) -> None:
        """Delete a queue with all that is in it, and declare one with other arguments in its place."""

        def replace(channel: BlockingChannel) -> None:
            channel.queue_delete(self.queue(subscriber))
            channel.queue_declare(self.queue(subscriber), durable=True)

        self.amqp(replace)

    def mend_queue(self, subscriber: str) -> int:
        """Have a replaced queue declared as it should be; return how many messages it had, which are in the new one."""
        queue = self.queue(subscriber)
        kept: list[tuple[pika.BasicProperties, bytes]] = []

        def take(channel: BlockingChannel) -> None:
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                kept.append((got[1], got[2]))
            channel.queue_delete(queue)

        def put_back(channel: BlockingChannel) -> None:
            channel.confirm_delivery()
            for properties, body in kept:
                properties.type = properties.type or "order.placed"
                channel.basic_publish("", queue, body, properties, mandatory=True)

        self.amqp(take)
        self.network.cut()  # a new connection is a new chance
        for number in self.fleet.numbers:
            self.fleet.await_ready(number)
        self.amqp(put_back)
        return len(kept)

    def amqp(self, work: Callable[[BlockingChannel], T]) -> T:
        """Do something on the broker, as an operator would."""
        connection = pika.BlockingConnection(pika.URLParameters(self.node.url))
        try:
            return work(connection.channel())
        finally:
            connection.close()

    def subscribers(self) -> dict[str, dict[str, Any]]:
        """Return what the first daemon says of each subscriber."""
        return {each["id"]: each for each in self.fleet.read("/api/subscribers")["items"]}

    def checks(self) -> dict[str, str]:
        """Return what the first daemon's readiness shows."""
        with self.daemon.api() as api:
            found: dict[str, str] = api.get("/readyz").json()["checks"]
            return found

    def has_letter(self, subscriber: str, order: str) -> bool:
        """Tell whether an order is a dead letter of a subscriber, as far as there is a daemon to ask."""
        return answered(lambda: (subscriber, order) in self.letters())

    def letters(self) -> list[Pair]:
        """Return the dead letters: of whom, and of which order."""
        items = self.fleet.read("/api/dead-letters", limit=200)["items"]
        return [(each["subscriber"], each["data"]["id"]) for each in items]

    def replay(self) -> int:
        """Have everything taken from now on, replay all dead letters by the command, and return how many it were."""
        self.mended.touch()
        self.ledger.redeem(self.letters())
        return int(self.application.sagad_json("dead-letters", "replay", "--all", "--rate", "1000")["replayed"])

    # --- what is published ---

    def order(
        self,
        *,
        handled: Collection[str] = EVERYBODY,
        by: Callable[[str, dict[str, Any]], bool] | None = None,
        name: str = "order.placed",
        **what: Any,
    ) -> str:
        """Publish an order, enter it, and return its id once that is certain.

        Args:
            handled: Who has to handle it, unless what goes wrong is in the way.
            by: Publishes it; the other program does otherwise.
            name: Of the event.
            what: What goes wrong with it, as the application's `OrderPlaced` says.
        """
        with self._numbers:
            order = f"order-{len(self.orders)}-{secrets.token_hex(3)}"
            self.orders.append(order)
        self.ledger.unknown.add(order)
        if (by or self.publisher.publish)(name, {"id": order, **what}):
            dead = PLACED if what.get("rejected") else {what["kills"]} if what.get("kills") else frozenset[str]()
            self.ledger.expect(order, set(handled) - dead - ({"echo"} if "left" in dead else set()), dead)
            self.ledger.unknown.discard(order)
        return order

    def by_the_daemon(self, name: str, order: dict[str, Any]) -> bool:
        """Have the first daemon publish an order until it has said that it is durable."""

        def accepted() -> bool:
            with self.daemon.api() as api:
                try:
                    body = {"name": name, "data": order, "id": order["id"]}
                    return api.post("/api/events", json=body).status_code == httpx.codes.ACCEPTED
                except httpx.TransportError:
                    return False

        until(accepted, "published", timeout_s=_PATIENCE_S)
        return True

    @contextmanager
    def traffic(self, *, every_s: float = 0.02, **what: Any) -> Iterator[None]:
        """Publish orders all the time inside the block, beginning with one that is handled."""
        first = self.order(**what)
        until(lambda: self.ledger.is_done(first), f"{first} is handled")
        with repeating(lambda: self.order(**what), every_s=every_s):
            yield

    def begun(self, order: str, by: Collection[str] = PLACED) -> None:
        """Return once the handlers have begun with an order."""
        until(lambda: all(self.ledger.begun(each, order) for each in by), f"{order} has begun")

    # --- how it ends ---

    def recovered(self, what: str, *, since_s: float, repeated: int = 0, **order: Any) -> Balance:
        """Wait until a new order is handled and everything else too, tell how long it took, and return the balance.

        Args:
            what: What happened, as a sentence.
            since_s: When the outside was well again, on the monotonic clock.
            repeated: How many effects may have happened twice.
            order: How the new order is published.
        """
        new = self.order(**order)
        assert new in self.ledger.expected, f"{new} is not published: {self.publisher.trouble}"
        until(lambda: self.ledger.is_done(new), f"a new order is handled:\n{self._state()}", timeout_s=_PATIENCE_S)
        handled_s = time.monotonic() - since_s
        for number in self.fleet.numbers:
            self.fleet.await_ready(number)
        balance = self.balance()
        self._told(f"{what}: a new event handled after {handled_s:.1f} s; {balance}")
        assert (balance.lost, balance.wrong) == ([], [])
        assert balance.repeated <= repeated
        assert self.fleet.violations == []
        return balance

    def balance(self) -> Balance:
        """Wait until nothing is missing and every queue is empty, for two minutes at most, and return the balance."""

        def settled() -> bool:
            lost = self.ledger.balance(self.letters()).lost  # first: what it finds in dead letters is not missing
            queued = any(each["ready"] or each["in_flight"] for each in self.subscribers().values())
            return not (lost or queued or self.ledger.missing())

        deadline_s = time.monotonic() + _PATIENCE_S
        while not answered(settled) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        states = self.subscribers()
        left = [
            f"left in the queue of {id}: {each}" for id, each in states.items() if each["ready"] or each["in_flight"]
        ]
        balance = self.ledger.balance(self.letters())
        return replace(balance, wrong=[*balance.wrong, *left])

    def _state(self) -> str:
        return "\n".join(map(str, self.ledger.missing()[:10])) + self.daemon.tail()
