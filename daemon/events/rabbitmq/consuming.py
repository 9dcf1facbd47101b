"""Consumptions of a queue, as the broker begins and ends them."""

import aiormq
from aiormq.abc import DeliveredMessage

from daemon.events.rabbitmq.connection import call

ANSWERS_AT_ONCE = 32  # of one channel, that RabbitMQ has on their way to a quorum queue


async def begin(channel: aiormq.Channel, queue: str) -> str:
    """Begin to consume, and return the consumption's tag; what is delivered goes to the channel's lane."""
    answer = await call(channel.basic_consume(queue, _past_the_library), f"consume the queue {queue!r}")
    return answer.consumer_tag or ""


async def end(channel: aiormq.Channel, queue: str, tag: str) -> None:
    """End a consumption: what was delivered may still be answered."""
    await call(channel.basic_cancel(tag), f"end the consumption of {queue!r}")


async def until_answered(channel: aiormq.Channel, queue: str) -> None:
    """Return once the queue has every answer that was given on a channel, or has it for sure if the channel is closed.

    What is above `ANSWERS_AT_ONCE` RabbitMQ keeps back until the others are on disk, and forgets if the channel is
    closed before. A consumption it begins and ends behind what is on its way. So one that is of no other use is begun
    and ended; what is delivered to it has to go back.
    """
    await end(channel, queue, await begin(channel, queue))


async def _past_the_library(_: DeliveredMessage) -> None:
    """Do nothing: what is delivered on a channel that has a lane comes there."""
