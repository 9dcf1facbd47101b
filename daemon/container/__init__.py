"""Services: `@service` marks their factories, `Services` gives them out by type, in two scopes.

A container is a `svcs.Container`. App-scoped services live in one container as long as the daemon does; every handler
gets a container of its own, which asks that one for them and keeps what is handler-scoped to itself.
"""

import daemon.container.slim  # noqa: F401 - ahead of whatever imports svcs
from daemon.container.factory import Ping, Scope, ServiceFactory, duplicate_services, service
from daemon.container.services import Services

__all__ = ["Ping", "Scope", "ServiceFactory", "Services", "duplicate_services", "service"]
