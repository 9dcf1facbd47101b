"""What goes wrong in a soak: a shuffled deck of faults, one at a time, each until the outside is well again."""

import random
import threading
import time
from collections.abc import Callable, Sequence

from daemon.engine.recovery import LEASE_S
from tests.acceptance.process import answered, until
from tests.faults.laboratory import HEARTBEAT_S, Laboratory
from tests.services.silence import silenced
from tests.soak.database import Database

# How often each is in the deck. `database` is for PostgreSQL alone.
DECK = {
    "kill": 3,
    "term": 2,
    "stop": 1,
    "cut": 3,
    "slow": 1,
    "freeze": 1,
    "broker-stop": 1,
    "broker-kill": 1,
    "broker-empty": 1,
    "alarm": 1,
    "delete-queue": 1,
    "bad-queue": 1,
    "silent-queue": 1,
    "poison": 1,
    "database": 2,
}
_PATIENCE_S = 120.0  # on a machine that does much else
_POISON_S = 180.0
_BEYOND_HEARTBEAT_S = 3 * (HEARTBEAT_S + 1)


class Deck:
    """Strikes.

    Args:
        calm: Whoever holds it keeps the load from publishing: what is in a queue when it is deleted is gone with it.
        chance: Decides what, whom and for how long.
        kinds: Those of `DECK` that may happen.
    """

    def __init__(
        self, lab: Laboratory, database: Database, calm: threading.Lock, chance: random.Random, kinds: Sequence[str]
    ) -> None:
        self._lab = lab
        self._database = database
        self._calm = calm
        self._chance = chance
        self.kinds = kinds
        self._cards: list[str] = []

    def draw(self) -> str:
        """Return the kind of the next fault."""
        if not self._cards:
            self._cards = [kind for kind in self.kinds for _ in range(DECK[kind])]
            self._chance.shuffle(self._cards)
        return self._cards.pop()

    def strike(self, kind: str) -> None:
        """Have a fault happen, and return once it is over and the outside is well.

        Raises:
            AssertionError: It is not over, or something was not handled that would have gone with it.
        """
        does: dict[str, Callable[[], object]] = {
            "kill": self._kill,
            "term": self._terminate,
            "stop": self._suspend,
            "cut": self._lab.network.cut,
            "slow": self._slow_down,
            "freeze": self._freeze,
            "broker-stop": lambda: self._break_broker(self._lab.node.stop),
            "broker-kill": lambda: self._break_broker(self._lab.kill_broker),
            "broker-empty": self._empty,
            "alarm": self._alarm,
            "delete-queue": self._delete_queue,
            "bad-queue": self._replace_queue,
            "silent-queue": self._silence_queue,
            "poison": self._poison,
            "database": self._crash_database,
        }
        does[kind]()

    def _number(self) -> int:
        return self._chance.choice(self._lab.fleet.numbers)

    # --- the daemons ---

    def _kill(self) -> None:
        number = self._number()
        self._lab.fleet.kill(number)
        time.sleep(self._chance.uniform(0, 0.5))
        self._lab.fleet.start(number)

    def _terminate(self) -> None:
        number = self._number()
        self._lab.fleet.terminate(number)
        self._lab.fleet.start(number)

    def _suspend(self) -> None:
        self._lab.fleet.suspend(self._number(), LEASE_S + self._chance.uniform(1, 3))

    def _poison(self) -> None:
        """Publish an order of which every daemon dies that handles it, until it is a dead letter."""
        fleet, subscriber = self._lab.fleet, self._chance.choice(["left", "right", "straight"])
        order = self._lab.order(kills=subscriber)

        def is_dead() -> bool:
            can_tell = self._lab.daemon.logged("http_listening")
            found = bool(can_tell) and self._lab.has_letter(subscriber, order)
            # Only then: the last one to die of it does so just before another makes it a dead letter.
            revived = [each for each in fleet.numbers if fleet.revive(each)]
            return found and not revived

        until(is_dead, f"{order} is a dead letter of {subscriber}", timeout_s=_POISON_S)

    # --- what is around them ---

    def _slow_down(self) -> None:
        self._lab.network.delay(self._chance.uniform(0.01, 0.2))
        time.sleep(self._chance.uniform(1, 4))
        self._lab.network.delay(0)

    def _freeze(self) -> None:
        self._lab.network.freeze()
        time.sleep(_BEYOND_HEARTBEAT_S + self._chance.uniform(-4, 2))
        self._lab.network.thaw()

    def _break_broker(self, how: Callable[[], object]) -> None:
        how()
        time.sleep(self._chance.uniform(0, 1))
        self._lab.node.start()

    def _empty(self) -> None:
        with self._calm:
            self._empty_queues()
            self._lab.ledger.buried |= set(self._lab.letters())
            for command in ("await_startup", "stop_app", "reset", "start_app"):
                self._lab.node.ctl(command)
            self._await_consumers()

    def _alarm(self) -> None:
        self._lab.node.ctl("await_startup")  # it takes connections a moment before it takes this
        self._lab.node.ctl("set_vm_memory_high_watermark", "absolute", "1")
        time.sleep(self._chance.uniform(0, 3))
        self._lab.node.ctl("set_vm_memory_high_watermark", "absolute", "512MB")

    def _crash_database(self) -> None:
        self._database.kill()
        time.sleep(self._chance.uniform(0, 2))
        self._database.start()

    # --- queues ---

    def _delete_queue(self) -> None:
        subscriber = self._chance.choice(["left", "right", "straight", "echo"])
        with self._calm:
            self._empty_queues()
            self._lab.amqp(lambda channel: channel.queue_delete(self._lab.queue(subscriber)))
            self._await_consumers()

    def _replace_queue(self) -> None:
        subscriber = self._chance.choice(["left", "right"])
        lab, told = self._lab, "subscriber_out_of_service"
        with self._calm:
            self._empty_queues()
            before = {
                number: len(lab.fleet.daemon(number).logged(told, subscriber=subscriber))
                for number in lab.fleet.numbers
            }
            lab.network.refuse()
            lab.replace_queue(subscriber)
            lab.network.accept()
            for number, count in before.items():  # by then it is bound: before, nothing would reach it
                lab.fleet.daemon(number).wait_for(told, subscriber=subscriber, count=count + 1, timeout_s=_PATIENCE_S)
        time.sleep(self._chance.uniform(0.5, 2))  # the others go on, and its events wait in what is there
        with self._calm:
            lab.mend_queue(subscriber)
            self._await_consumers()

    def _silence_queue(self) -> None:
        """Have a queue not answer for longer than anybody waits for a confirmation, from a new connection on."""
        queue = self._lab.queue(self._chance.choice(["left", "right", "straight", "echo"]))
        with silenced(self._lab.node, queue):
            self._lab.network.cut()
            time.sleep(self._chance.uniform(1, 15))

    def _empty_queues(self) -> None:
        balance = self._lab.balance()
        assert not balance.lost, f"not handled: {balance.lost[:10]}"
        assert not balance.wrong, f"{balance.wrong[:10]}"

    def _await_consumers(self) -> None:
        wanted = dict.fromkeys(("left", "right", "echo"), len(self._lab.fleet.numbers)) | {"straight": 1}
        until(  # of an ordered subscriber, the broker counts the one whose turn it is
            lambda: answered(
                lambda: {name: each["consumers"] for name, each in self._lab.subscribers().items()} == wanted
            ),
            "every queue is consumed by every daemon",
            timeout_s=_PATIENCE_S,
        )
