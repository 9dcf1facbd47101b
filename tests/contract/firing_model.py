"""The firings of a store, as the store's protocol describes them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from daemon.store.job_model import Claimed, ClaimOutcome, FiringRecord, FiringState
from daemon.store.writes import Outcome, ReleaseFiring, UpdateFiring

OPEN = (FiringState.WAITING, FiringState.RUNNING)


@dataclass
class Firings:
    """Firings of one job, by their times."""

    known: dict[int, FiringRecord] = field(default_factory=dict)

    # --- writes ---
    def change(self, write: UpdateFiring | ReleaseFiring) -> Outcome | None:
        before = self.known.get(write.record.scheduled_us)
        if before is None or (before.owner, before.epoch) != (write.record.owner, write.record.epoch):
            return Outcome.FENCED
        if isinstance(write, UpdateFiring):
            self.known[write.record.scheduled_us] = write.record
        else:
            before.owner = ""
        return None

    # --- what is taken over ---
    def claim(self, firing: FiringRecord) -> Claimed:
        is_new = self.known.setdefault(firing.scheduled_us, firing) is firing
        return Claimed(ClaimOutcome.RUNNING, replace(firing)) if is_new else Claimed(ClaimOutcome.TAKEN)

    def take_over(self, owner: str, limit: int, is_free: Callable[[str], bool]) -> list[FiringRecord]:
        going = [each for each in self.known.values() if each.state in OPEN]
        free = sorted((each for each in going if is_free(each.owner)), key=lambda of: of.scheduled_us)
        for firing in free[:limit]:
            firing.attempt += firing.state is FiringState.RUNNING and firing.due_us is None
            firing.epoch += bool(firing.owner)
            firing.owner = owner
        return free[:limit]

    # --- retention ---
    def forget_old(self, before_us: int) -> int:
        """Forget firings that ended before, but for the latest of all; return how many."""
        latest = max(self.known, default=0)
        kept = {
            at: each
            for at, each in self.known.items()
            if at == latest or each.state in OPEN or each.ended_us is None or each.ended_us >= before_us
        }
        gone, self.known = len(self.known) - len(kept), kept
        return gone
