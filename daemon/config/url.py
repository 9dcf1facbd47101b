"""Addresses: which are acceptable, which are of this machine alone, and how they are shown."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from daemon.errors import did_you_mean


def is_loopback(host: str) -> bool:
    """Tell whether `host` is a name or an address that only this machine reaches."""
    host = host.strip("[]").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_mistake(url: str, schemes: Collection[str], *, needs_host: bool) -> str | None:
    """Return what is wrong with an address, without showing it, or None.

    Args:
        url: The address.
        schemes: The schemes that it may have.
        needs_host: Whether it has to name a host.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        guess = did_you_mean(scheme, schemes) if separator else ""
        return f"must begin with {' or '.join(f'{each}://' for each in sorted(schemes))}.{guess}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has a port that is no number. Are special characters in the password percent-encoded?"
    if port == 0 or (needs_host and not parts.hostname):
        return f"must name a host, and a port if need be: {scheme}://user:password@host:port/path."
    return None
