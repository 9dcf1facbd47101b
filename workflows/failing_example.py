"""A workflow whose second step breaks: its first step is undone before your eyes."""

from daemon import StepContext, StepResponse, step, workflow


@step("open-account")
async def open_account(_: None, ctx: StepContext) -> StepResponse[str, str]:
    """Do something that has to be undone if a later step fails."""
    ctx.log.info("account_opened", account="account-1")
    return StepResponse("account-1", compensate_input="account-1")


@open_account.compensate
async def close_account(account: str, ctx: StepContext) -> None:
    """Undo it."""
    ctx.log.info("account_closed", account=account)


@step("charge-account")
async def charge_account(account: str) -> None:
    """Fail."""
    msg = f"{account} has no money"
    raise RuntimeError(msg)


@workflow("failing-example")
def failing_example() -> None:
    """Open an account and charge it, which fails: the account is closed again."""
    account = open_account(None)
    charge_account(account)
