# Refused by: mypy, pyright, composing

from daemon import Event, Ref, step, wait_for_event, workflow


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


@step("note")
async def note(text: str) -> None:
    """Take a text."""


@workflow("pay")
def pay(order_id: Ref[str]) -> None:
    note(wait_for_event(PaymentCaptured, key=order_id, match=lambda e: e.order_id))  # refused
