"""How long it took until runs went on, from the ledger."""

from tests.soak.faults import Fault
from tests.soak.ledger import Line
from tests.soak.recovery import Sample, samples

OLD, NEW, PEER = 1, 2, 3


def line(at_s: float, pid: int, run: str = "run-1") -> Line:
    return Line(at_s, pid, "do", run, "pack", f"soak:{run}:1:pack", "order-1")


def test_without_faults_nothing_was_interrupted() -> None:
    assert samples([], [line(1.0, OLD), line(2.0, OLD)]) == []


def test_a_run_is_timed_from_the_fault_to_its_next_effect_and_from_the_new_start() -> None:
    fault = Fault("kill", 10.0, 10.5, 12.0, frozenset({OLD}))

    found = samples([fault], [line(9.0, OLD), line(12.25, NEW)])

    assert found == [Sample("kill", 2.25, 1.75, 0.25, by_peer=False)]


def test_a_run_that_a_peer_took_over_says_so() -> None:
    fault = Fault("kill", 10.0, 10.5, 12.0, frozenset({OLD}))

    found = samples([fault], [line(9.0, OLD), line(9.5, PEER, "run-2"), line(11.0, PEER)])

    assert found == [Sample("kill", 1.0, 0.5, 0.0, by_peer=True)]
