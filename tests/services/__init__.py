"""The real RabbitMQ and PostgreSQL that tests talk to: found, installed or run with Docker; gone afterwards."""

from tests.services.postgres import (
    PostgresContainer,
    PostgresServer,
    emptied,
    emptying,
    own_schema,
    private_postgres,
    shared_schema,
)
from tests.services.process import ServiceError, free_port
from tests.services.rabbit import RabbitContainer, RabbitNode, private_rabbit

__all__ = [
    "PostgresContainer",
    "PostgresServer",
    "RabbitContainer",
    "RabbitNode",
    "ServiceError",
    "emptied",
    "emptying",
    "free_port",
    "own_schema",
    "private_postgres",
    "private_rabbit",
    "shared_schema",
]
