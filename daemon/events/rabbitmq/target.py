"""Where the broker is, and why it cannot be reached."""

import re
import ssl
from dataclasses import dataclass

from aio_pika import exceptions
from aiormq.exceptions import ConnectionNotAllowed
from yarl import URL

_ALERT = re.compile(r"(SSL|TLS)V\d+_ALERT_[A-Z_]+")  # what the other side says; the library keeps only the text


def vhost_of(url: URL) -> str:
    """Return the virtual host that an address names."""
    return url.path.removeprefix("/") or "/"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the broker is and how to get in.

    Attributes:
        url: With user, password and virtual host.
        app: Names the connections.
        heartbeat_s: A silent connection is given up after three times this; AMQP knows whole seconds.
        tls_ca: Path of the authority's certificate; empty trusts the system's.
        tls_cert: Path of our own certificate; empty presents none.
        tls_key: Path of its key.
        timeout_s: How long connecting may take.
    """

    url: URL
    app: str
    heartbeat_s: float
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    timeout_s: float = 10.0

    @property
    def place(self) -> str:
        """Host and port, for sentences."""
        return f"{self.url.host}:{self.url.port or (5671 if self.url.scheme == 'amqps' else 5672)}"

    @property
    def vhost(self) -> str:
        """The virtual host."""
        return vhost_of(self.url)

    def tls(self) -> ssl.SSLContext | None:
        """Return what to verify and present; None without TLS. Reads files."""
        if self.url.scheme != "amqps":
            return None
        context = ssl.create_default_context(cafile=self.tls_ca or None)
        if self.tls_cert:
            context.load_cert_chain(self.tls_cert, self.tls_key or None)
        return context

    def why(self, error: BaseException) -> str:
        """Return why a connection could not be had, in one sentence without the password."""
        if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
            return (
                f"RabbitMQ at {self.place} refused the user {self.url.user!r}: check user and password in broker.url."
            )
        if isinstance(error, exceptions.InvalidFrameError | ConnectionNotAllowed):
            return (
                f"RabbitMQ at {self.place} did not open the virtual host {self.vhost!r}: check that it exists, "
                f"and that the user {self.url.user!r} may use it (the path of broker.url)."
            )
        if isinstance(error, TimeoutError):
            return f"RabbitMQ at {self.place} did not answer within {self.timeout_s:g} s."
        if why := self._why_tls(error):
            return why
        if isinstance(error, FileNotFoundError | PermissionError):
            return f"A file that tls_ca, tls_cert or tls_key names cannot be read: {error.strerror}."
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self.url.password:
            reason = reason.replace(self.url.password, "***")
        return f"RabbitMQ at {self.place} cannot be reached: {reason}"

    def _why_tls(self, error: BaseException) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of RabbitMQ at {self.place} is not trusted: {error.verify_message.rstrip('.')}. "
                "Check broker.tls_ca, and that broker.url names the host that the certificate is for."
            )
        if alert := _ALERT.search(str(error)):
            said = alert[0].removeprefix("TLSV1_").removeprefix("TLSV13_").lower().replace("_", " ")
            return (
                f"RabbitMQ at {self.place} did not accept our side of TLS ({said}): check broker.tls_cert and "
                "broker.tls_key, a certificate that it trusts and its key."
            )
        if isinstance(error, ssl.SSLError):
            return f"TLS with {self.place} failed: {error.reason or error}. Check tls_ca, tls_cert and tls_key."
        return ""
