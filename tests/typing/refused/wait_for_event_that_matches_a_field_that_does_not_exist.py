# Refused by: mypy, pyright

from daemon import Event, Ref, wait_for_event, workflow


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


@workflow("pay")
def pay(order_id: Ref[str]) -> None:
    wait_for_event(PaymentCaptured, key=order_id, match=lambda e: e.order)  # refused
