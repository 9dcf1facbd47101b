# Refused by: mypy, pyright, composing

from daemon import Event, Ref, emit, workflow


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


@workflow("tell")
def tell(text: Ref[str]) -> None:
    emit(PaymentCaptured)  # refused
