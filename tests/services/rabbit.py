"""A private RabbitMQ node."""

import os
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.services.container import Container, docker_answers
from tests.services.process import Server, ServiceError, free_port
from tests.services.programs import find_or_install

AMQP_0_9_1_HEADER = b"AMQP\x00\x00\x09\x01"

# Small on disk and in memory: a node's write-ahead log of quorum queues is allocated whole, 512 MiB by default.
SETTINGS = {
    "disk_free_limit.absolute": "20MB",
    "raft.wal_max_size_bytes": "16777216",
    "vm_memory_high_watermark.absolute": "512MB",
    "log.file": "false",
    "log.console": "true",
    "log.console.level": "info",
}


TLS_FILES = {"cacertfile": "ca.pem", "certfile": "server.pem", "keyfile": "server.key"}


class RabbitNode(Server):
    """A RabbitMQ of one's own on 127.0.0.1, apart from any other on this machine.

    Its node name, ports, cookie, data, plugins and Erlang port mapper (epmd) are its own.

    Args:
        scripts: The folder of RabbitMQ's own scripts, which unlike Debian's wrappers run as any user.
        settings: Lines of rabbitmq.conf, over `SETTINGS`.
        tls: By the names in `TLS_FILES`, what it shows and trusts on a second port, where clients show certificates.
    """

    def __init__(self, scripts: Path, settings: Mapping[str, str], tls: Mapping[str, str] | None = None) -> None:
        self._scripts = scripts
        super().__init__(account="rabbitmq")
        self.port = free_port()
        self.name = f"sagad-{self.port}@localhost"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._env = self._environment()
        listeners = {"listeners.tcp.1": f"127.0.0.1:{self.port}"}
        if tls is not None:
            tls_port = free_port()
            self.tls_url = f"amqps://guest:guest@localhost:{tls_port}/"
            listeners |= {"listeners.ssl.1": f"127.0.0.1:{tls_port}", **tls_settings(self.folder)}
            for name, text in tls.items():
                (self.folder / name).write_text(text)
        configuration = conf({**SETTINGS, **listeners, **settings})
        (self.folder / "rabbitmq.conf").write_text(configuration)
        (self.folder / "advanced.config").write_text("[].\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").write_text("")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),  # of the Erlang cookie
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the node, instead of waiting beside it: our child is what we signal.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def start(self) -> None:
        if self._processes:
            return
        self.spawn(["epmd"], self._env)  # else the node would leave one behind that outlives it
        node = self.spawn([f"{self._scripts}/rabbitmq-server"], self._env)
        self.await_answer(node, self._answers, timeout_s=90)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return what it prints."""
        return self.call([f"{self._scripts}/rabbitmqctl", "--quiet", "--node", self.name, *arguments], self._env)

    def _answers(self) -> bool:
        return speaks_amqp(self.port)


class RabbitContainer(Container):
    """A RabbitMQ of one's own in a container, for a machine that has Docker and no RabbitMQ."""

    def __init__(self, settings: Mapping[str, str], tls: Mapping[str, str] | None = None) -> None:
        folder = Path("/etc/rabbitmq/tls")
        listeners = {"listeners.ssl.1": "5671", **tls_settings(folder)} if tls else {}
        files = {"/etc/rabbitmq/conf.d/90-sagad.conf": conf({**listeners, **settings})}
        files |= {str(folder / name): text for name, text in (tls or {}).items()}
        super().__init__("rabbitmq:4", port=5672, more=[5671] if tls else [], files=files)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        if tls:
            self.tls_url = f"amqps://guest:guest@localhost:{self.ports[5671]}/"

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return what it prints."""
        return self.call("rabbitmqctl", "--quiet", *arguments)

    def answers(self) -> bool:
        return speaks_amqp(self.port)


def private_rabbit(
    settings: Mapping[str, str] | None = None, *, tls: Mapping[str, str] | None = None
) -> RabbitNode | RabbitContainer:
    """Return a RabbitMQ of one's own, not yet started, with these lines of rabbitmq.conf and these certificates.

    Raises:
        ServiceError: There is none on this machine, it cannot be installed, and there is no Docker.
    """
    if scripts := find_or_install("rabbitmq-server", find_scripts):
        return RabbitNode(scripts, settings or {}, tls)
    if docker_answers():
        return RabbitContainer(settings or {}, tls)
    raise ServiceError(
        "The tests need RabbitMQ. Install it (Debian: apt-get install rabbitmq-server), start Docker, "
        "or name one that runs: SAGAD_TEST_AMQP_URL=amqp://user:password@host/"
    )


def find_scripts() -> Path | None:
    """Return the folder of RabbitMQ's own scripts, if this machine has them."""
    on_path = shutil.which("rabbitmq-server")
    candidates = [
        Path("/usr/lib/rabbitmq/bin"),
        *sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True),
        *([Path(on_path).resolve().parent] if on_path else []),
    ]
    return next((folder for folder in candidates if (folder / "rabbitmq-server").exists()), None)


def tls_settings(folder: Path) -> dict[str, str]:
    """Return what makes RabbitMQ use the certificates in a folder, and ask clients for theirs."""
    return {
        **{f"ssl_options.{key}": str(folder / name) for key, name in TLS_FILES.items()},
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }


def conf(settings: Mapping[str, str]) -> str:
    """Return settings in the format of rabbitmq.conf."""
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


def speaks_amqp(port: int) -> bool:
    """Tell whether a broker on this port of 127.0.0.1 answers the first bytes of AMQP 0-9-1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(AMQP_0_9_1_HEADER)
            return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    except OSError:
        return False
