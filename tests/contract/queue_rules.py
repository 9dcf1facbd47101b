"""What may happen to the processes on a store, to its queues, and to what it knows of a broker's deliveries."""

from copy import deepcopy
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from daemon.store.model import QueuedDelivery
from daemon.store.writes import Enqueue, ForgetReceipt, PutReceipt, RecordHandled, SettleDelivery, UpdateDelivery
from tests.contract import records
from tests.contract.queue_model import Queues, without_seq
from tests.contract.store_driver import MANY, StoreDriver

PLAIN, LINE = "plain", "line"  # two queues, of which one is ordered
MARKS = ("", "mark-1", "mark-1")
OF_EVENT = {"subscriber": "greet", "source": "crm", "event_name": "made"}
LATE_US = 2**50

few, yes = st.integers(0, 5), st.booleans()
owners = st.integers(0, 2)
either = st.sampled_from([PLAIN, PLAIN, LINE])
rarely = st.sampled_from([False] * 5 + [True])
delays = st.sampled_from([-2_000, 0, 0, 3_000])


class ProcessRules(StoreDriver):
    """Processes that live and die.

    Whoever takes deliveries does so under an id that does not come back: what becomes of those of a dead process that
    nobody has taken yet is the store's own affair.
    """

    def __init__(self) -> None:
        super().__init__()
        self._boots = [0, 0, 0]

    def boot(self, at: int) -> str:
        """Return one of three processes under its present id."""
        return f"{self.owner(at)}.{self._boots[at % 3]}"

    @rule(at=owners)
    def live(self, at: int) -> None:
        for owner in (self.owner(at), self.boot(at)):
            self.read("register", self.app, owner, lease_s=1e6)
            self.model.alive.add(owner)

    @rule(at=owners)
    def die(self, at: int) -> None:
        for owner in (self.owner(at), self.boot(at)):
            self.read("retire", owner)
            self.model.alive.discard(owner)
        self._boots[at % 3] += 1


def has_held(machine: "QueueMachine") -> bool:
    return bool(machine.held())


class QueueMachine(ProcessRules):
    """What may happen to queues, and to what is known of a broker's deliveries."""

    _events = 0

    @property
    def queues(self) -> Queues:
        return self.model.rows.queues

    # --- queues ---
    def queued(self, queue: str, delay_us: int = 0, **changes: object) -> QueuedDelivery:
        """Return a delivery of an event that nobody else has."""
        self._events += 1
        of = {"app": self.app, "subscriber": queue, "due_us": self.later() + delay_us}
        return records.delivery(f"event-{self._events}", **of | changes)

    def held(self) -> list[QueuedDelivery]:
        """Return the deliveries that processes have which live."""
        return [each for each in self.queues.deliveries.values() if each.seq and each.owner in self.model.alive]

    @initialize(delays=st.lists(delays, min_size=4, max_size=6))
    def fill(self, delays: list[int]) -> None:
        for queue in (PLAIN, LINE):
            self.commit(Enqueue(tuple(self.queued(queue, delay_us) for delay_us in delays)), more=False)
        for name in range(6):
            self.note(more=True, name=name, mark=MARKS[1], of=name % 4, starts=0)

    @rule(more=yes, queue=either, delays=st.lists(delays, max_size=3), marked=rarely, name=few, poison=rarely)
    def enqueue(self, *, more: bool, queue: str, delays: list[int], marked: bool, name: int, poison: bool) -> None:
        done = [self.handled(f"{name}")] if marked else []
        queued = Enqueue(tuple(self.queued(queue, delay_us) for delay_us in delays))
        self.commit(*done, queued, self.event(), more=more, poison=poison)

    @rule(of=owners, owned=yes)
    def park(self, of: int, *, owned: bool) -> None:
        self.live(of)
        delivery = self.queued(PLAIN, owner=self.boot(of) if owned else "")
        seq = self.read("park", delivery)
        self.queues.apply(Enqueue((replace(delivery, seq=seq),)))

    @precondition(lambda machine: machine.queues.deliveries)
    @rule(of=owners, dead=owners, queue=either, limit=st.integers(1, 3), dies=rarely)
    def take(self, of: int, dead: int, queue: str, limit: int, *, dies: bool) -> None:
        if dies:
            self.die(dead)
        self.live(of)
        self.taken(queue, self.boot(of), limit, self.later())

    def taken(self, queue: str, owner: str, limit: int, now_us: int) -> list[QueuedDelivery]:
        """Have a process take from a queue, and return what it got, which is what the model says."""
        is_ordered = queue == LINE
        found: list[QueuedDelivery] = self.read(
            "take", self.app, queue, owner, limit=limit, now_us=now_us, ordered=is_ordered
        )
        expected = self.queues.take(queue, owner, limit, now_us, self.free_to(owner), ordered=is_ordered)
        assert list(map(without_seq, found)) == list(map(without_seq, expected))
        assert found == self.queues.learn(found)
        return found

    @precondition(has_held)
    @rule(more=yes, at=few, stale=yes)
    def settle(self, *, more: bool, at: int, stale: bool) -> None:
        held = self.held()[at % len(self.held())]
        self.commit(SettleDelivery(held.seq, "somebody else" if stale else held.owner), more=more)

    @precondition(has_held)
    @rule(more=yes, at=few, stale=rarely, delay_us=delays, buried=yes)
    def put_back(self, *, more: bool, at: int, stale: bool, delay_us: int, buried: bool) -> None:
        held = deepcopy(self.held()[at % len(self.held())])
        owner = "somebody else" if stale else held.owner
        held.owner, held.attempt, held.due_us = "", held.attempt + 1, self.later() + delay_us
        if buried:
            held.reason, held.error, held.dead_us = "rejected", "no", self.now_us
        self.commit(UpdateDelivery(held, owner), more=more)

    @precondition(lambda machine: any(each.reason for each in machine.queues.deliveries.values()))
    @rule(more=yes, queue=either, discarded=rarely)
    def replay(self, *, more: bool, queue: str, discarded: bool) -> None:
        found = self.read("dead", self.app, queue, ids=None, limit=MANY)
        dead = [each for each in self.queues.of(queue) if each.reason]
        assert list(map(without_seq, found)) == list(map(without_seq, dead))
        for each in self.queues.learn(found)[:1]:
            again = [] if discarded else [Enqueue((self.queued(queue),))]
            self.commit(SettleDelivery(each.seq, ""), *again, more=more)

    # --- deliveries of a broker ---
    def handled(self, name: str) -> RecordHandled:
        return records.handled(name, app=self.app, event_name="made", handled_us=self.later())

    @rule(more=yes, name=few, mark=st.sampled_from(MARKS), of=st.integers(0, 3), starts=few)
    def note(self, *, more: bool, name: int, mark: str, of: int, starts: int) -> None:
        self.submit()  # whoever puts and forgets awaits one before the other
        owner = self.owner(of) if of < 3 else ""
        values = {"mark": mark, "owner": owner, "starts": starts, "first_seen_us": self.later()}
        self.commit(PutReceipt(records.receipt(f"{name}", app=self.app, **OF_EVENT | values)), more=more)

    @rule(more=yes, name=few)
    def forget(self, *, more: bool, name: int) -> None:
        self.submit()
        self.commit(ForgetReceipt(self.app, event_id=f"{name}", **OF_EVENT), more=more)

    @precondition(lambda machine: machine.queues.receipts)
    @rule(more=yes, at=few)
    def finish(self, *, more: bool, at: int) -> None:
        name = [*self.queues.receipts][at % len(self.queues.receipts)]
        self.commit(self.handled(name), more=more)

    @precondition(lambda machine: machine.queues.receipts)
    @rule(of=owners, at=few, dies=yes)
    def take_over_receipt(self, of: int, at: int, *, dies: bool) -> None:
        if dies:
            self.die(of + 1)
        self.submit()  # which may have them forgotten
        owner, receipts = self.owner(of), [*self.queues.receipts.values()]
        mark = receipts[at % len(receipts)].mark if receipts else ""
        found = self.read("claim_receipt", self.app, "greet", mark, owner)
        handled = self.model.rows.handled
        assert found == (self.queues.claim_receipt(mark, owner, self.free_to(owner), handled) if mark else None)

    @rule(ago=few)
    def prune(self, ago: int) -> None:
        before_us = self.now_us - ago * 2_000
        count = self.read("prune_handled", self.app, before_us=before_us, limit=MANY)
        assert count == self.model.prune_others(before_us, "")[0]

    # --- what is seen ---
    def look(self) -> None:
        super().look()
        depths = self.read("queue_depths", self.app)
        assert {of: (ready + owned, dead) for of, (ready, owned, dead) in depths.items()} == self.queues.depths()
        for name in "012345":
            found = self.read("receipt", self.app, *OF_EVENT.values(), name)
            assert found == self.queues.receipts.get(name)
        for at in range(3):
            self.die(at)
        for queue in (PLAIN, LINE):
            while taken := self.taken(queue, "the last", MANY, LATE_US):
                self.commit(*(SettleDelivery(each.seq, "the last") for each in taken), more=False)
            assert all(each.reason for each in self.queues.of(queue))
