# Refused by: mypy, pyright, composing

from daemon import Event, Ref, wait_for_event, workflow


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


def order_id_of(event: PaymentCaptured) -> str:
    return event.order_id


@workflow("pay")
def pay(order_id: Ref[str]) -> None:
    wait_for_event("payment.captured", key=order_id, match=order_id_of)  # refused
