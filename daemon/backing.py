"""What a configuration names: the store that an application is kept in, and the bus that carries its events."""

from collections.abc import Callable

from daemon.clock import Clock
from daemon.config import Config
from daemon.declared import missing_driver
from daemon.engine.recovery import Recovery
from daemon.errors import ConfigurationError
from daemon.events.bus import Bus
from daemon.store.port import Store


def store_of(config: Config, disk_failed: Callable[[Exception], object], *, migrates: bool = True) -> Store:
    """Return the store that is configured; it is not open yet.

    Args:
        config: Where it is.
        disk_failed: Called in the event loop when it cannot tell any more what is on its disk.
        migrates: Whether it makes its tables, or brings them up to date, when it is opened.

    Raises:
        ConfigurationError: Its driver is not installed.
    """
    path = config.sqlite_path
    if path is not None:
        from daemon.store.sqlite import SqliteStore  # noqa: PLC0415 - only what is configured is imported

        return SqliteStore(path, sync_failed=disk_failed, migrates=migrates)
    if problems := missing_driver(config):
        raise ConfigurationError(problems)
    from daemon.store.postgres import PostgresStore  # noqa: PLC0415 - the driver is an extra

    return PostgresStore(config.storage.url, app=config.app.name, migrates=migrates)


def bus_of(config: Config, store: Store, owner: str, clock: Clock, recovery: Callable[[], Recovery]) -> Bus:
    """Return the bus that is configured; it is not started yet. `recovery` tells, from then on, of the lease."""
    broker, limit = config.broker, config.daemon.max_payload_bytes
    if broker.embedded:
        from daemon.events.embedded import EmbeddedBus  # noqa: PLC0415 - only what is configured is imported

        return EmbeddedBus(store, app=config.app.name, owner=owner, clock=clock, is_leased=lambda: recovery().is_leased)
    from daemon.events.rabbitmq import RabbitBus  # noqa: PLC0415 - aio-pika is not needed on the embedded default

    return RabbitBus(
        broker.url,
        app=config.app.name,
        exchange=broker.exchange,
        heartbeat_s=broker.heartbeat_s,
        consumer_timeout_s=broker.consumer_timeout_s,
        declare=broker.declare,
        tls_ca=broker.tls_ca and str(config.path(broker.tls_ca)),
        tls_cert=broker.tls_cert and str(config.path(broker.tls_cert)),
        tls_key=broker.tls_key and str(config.path(broker.tls_key)),
        max_payload_bytes=limit,
        clock=clock,
        store=store,
        owner=owner,
        leased_until_s=lambda: recovery().leased_until_s,
    )
