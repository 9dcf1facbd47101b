"""What the store's queue tables have, compared with what is wanted: there is no queue to declare, only bindings."""

from collections.abc import Collection, Mapping, Sequence

from daemon.events.bus import Subscription
from daemon.events.topology import Item, Plan, State


def compared(
    subscriptions: Sequence[Subscription],
    known: Collection[str],
    bindings: Sequence[tuple[str, str]],
    depths: Mapping[str, tuple[int, int, int]],
) -> Plan:
    """Return what is there and what is wanted.

    Args:
        subscriptions: What should be there.
        known: More subscribers whose queues are no orphans.
        bindings: (subscriber, pattern) of what the store has.
        depths: By subscriber how many deliveries wait, are under way, and are dead.
    """
    bound: dict[str, list[str]] = {}
    for subscriber, pattern in bindings:
        bound.setdefault(subscriber, []).append(pattern)
    items = []
    for subscription in subscriptions:
        there = bound.get(subscription.id, [])
        for pattern in subscription.patterns:
            state = State.OK if pattern in there else State.MISSING
            items.append(Item("binding", subscription.id, {"routing_key": pattern}, state))
        for pattern in sorted(set(there) - set(subscription.patterns)):
            detail = "Its subscriber does not take this any more; the daemon unbinds it, too."
            items.append(Item("binding", subscription.id, {"routing_key": pattern}, State.STALE, detail))
    wanted = {each.id for each in subscriptions} | set(known)
    for subscriber in sorted((bound.keys() | depths.keys()) - wanted):
        ready, in_flight, dead = depths.get(subscriber, (0, 0, 0))
        if subscriber not in bound and not ready + in_flight + dead:
            continue
        taken = ", ".join(sorted(bound.get(subscriber, ())))
        takes = f", and it goes on taking {taken} until `sagad topology apply`" if taken else ""
        waiting = f"{ready + in_flight} of its events wait, {dead} are dead letters"
        detail = f"No subscriber has this id any more; {waiting}{takes}."
        items.append(Item("queue", subscriber, {}, State.ORPHAN, detail))
    return Plan(items)
