"""The servers that tests talk to are real, private, and keep what they should."""

from collections.abc import Iterator

import asyncpg
import pika
import pytest

from tests.services import RabbitContainer, RabbitNode, private_rabbit


@pytest.fixture(scope="module")
def own_node() -> Iterator[RabbitNode | RabbitContainer]:
    with private_rabbit() as node:
        yield node


def publish(url: str, queue: str, body: bytes, *, kept: bool = True) -> bytes | None:
    """Publish and, unless the broker is to keep it, get it back on the same connection."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, exclusive=not kept)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)
        return None if kept else got(channel, queue)


def got(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> bytes | None:
    body: bytes | None = channel.basic_get(queue, auto_ack=True)[2]
    return body


def take(url: str, queue: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return got(connection.channel(), queue)


def test_a_message_published_to_rabbitmq_is_got_back(amqp_url: str) -> None:
    body = publish(amqp_url, "services-test", b"hello", kept=False)

    assert body == b"hello"


async def test_every_test_has_an_empty_postgresql_database_of_its_own(
    postgres_url: str, postgres_database: str
) -> None:
    connection = await asyncpg.connect(postgres_database)
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()

    assert tables == 0
    assert postgres_database != postgres_url


def test_a_node_of_ones_own_keeps_its_messages_when_it_is_killed_and_started_again(
    own_node: RabbitNode | RabbitContainer,
) -> None:
    publish(own_node.url, "kept", b"hello")

    own_node.kill()
    own_node.start()

    assert take(own_node.url, "kept") == b"hello"


def test_a_node_of_ones_own_is_told_what_to_do(own_node: RabbitNode | RabbitContainer) -> None:
    own_node.ctl("add_vhost", "other")

    assert "other" in own_node.ctl("list_vhosts").split()
