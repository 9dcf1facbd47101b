"""The workflow that fails: what it had done is undone."""

from daemon.testing import Harness
from workflows.failing_example import failing_example


async def test_the_account_that_cannot_be_charged_is_closed_again(app: Harness) -> None:
    run = await failing_example(app.container).run(raise_on_error=False)

    assert run.status == "reverted"
    assert run.compensated == ["open-account"]
    assert [line["event"] for line in app.log if line["event"].startswith("account_")] == [
        "account_opened",
        "account_closed",
    ]
