"""Everything goes wrong under load for two minutes, as a seed decides.

`python -m benchmarks.soak --broker rabbitmq` does it longer. How much goes wrong in that time depends on how busy the
machine is; what may come of it does not.
"""

from pathlib import Path

import pytest

from tests.faults.laboratory import Node
from tests.faults.soak import EventPlan, soak_events


def test_whatever_goes_wrong_under_load_loses_nothing(
    bad_node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kombu#637: the process survives whatever recovery meets."""
    plan = EventPlan(seconds=120, seed=3, rate=20, pause_s=0.8)

    report = soak_events(plan, bad_node, tmp_path)

    with capsys.disabled():
        print(f"\n{plan}\n{report}")  # noqa: T201 - the figures are for whoever reads the log
    assert report.violations == []
    assert report.seconds
    assert report.replayed >= report.dead - report.balance.dead
