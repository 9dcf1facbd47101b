"""Daemons that are killed, ended and stopped for a while under load; `python -m benchmarks.soak` does it for longer."""

from pathlib import Path

import pytest

from tests.soak import Plan, soak


@pytest.mark.parametrize("daemons", [1, 2])
def test_nothing_is_lost_and_nothing_happens_twice_however_daemons_end(
    daemons: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(seconds=20, seed=daemons, daemons=daemons, in_flight=12, pause_s=1)

    report = soak(plan, tmp_path)

    with capsys.disabled():
        print(f"\n{plan}\n{report}")  # noqa: T201 - the figures are for whoever reads the log
    assert report.verdict.violations == []
    assert (report.verdict.lost, report.verdict.extra) == (0, 0)
    assert report.faults
    assert report.verdict.ends["completed"] > 0
