# Refused by: mypy, pyright, composing

from daemon import Event, Ref, emit, transform, when, workflow


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


def captured(order_id: str) -> PaymentCaptured:
    return PaymentCaptured(order_id=order_id)


@workflow("tell")
def tell(order_id: Ref[str]) -> None:
    with when(order_id, bool) as known:
        made = transform(order_id, captured)
    emit(known.output(made))  # refused
