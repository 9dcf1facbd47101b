"""A service in a container, for a machine that has Docker and not the program."""

import secrets
import shutil
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.process import Service, ServiceError, await_true, free_port


def docker_answers() -> bool:
    """Tell whether there is a Docker engine here that may be used."""
    return (
        bool(shutil.which("docker"))
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


class Container(Service):
    """A container of one's own, with one of its ports published on a free port of 127.0.0.1.

    Args:
        image: Name and tag.
        port: The port within.
        more: Other ports within that are published too: `ports` tells where.
        files: Text by the path within, mounted read-only.
        env: Environment variables within.
    """

    def __init__(
        self,
        image: str,
        *,
        port: int,
        more: Sequence[int] = (),
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.port = free_port()
        self.ports = {within: free_port() for within in more}
        self.name = f"sagad-{secrets.token_hex(6)}"
        self.folder = Path(tempfile.mkdtemp(prefix="sagad-"))
        self.folder.chmod(0o755)  # the container's account is another
        options = ["--publish", f"127.0.0.1:{self.port}:{port}"]
        for within, outside in self.ports.items():
            options += ["--publish", f"127.0.0.1:{outside}:{within}"]
        for number, (path, text) in enumerate((files or {}).items()):
            (self.folder / str(number)).write_text(text)
            options += ["--volume", f"{self.folder / str(number)}:{path}:ro"]
        for key, value in (env or {}).items():
            options += ["--env", f"{key}={value}"]
        docker("create", "--name", self.name, *options, image)

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the service takes requests."""

    def start(self) -> None:
        docker("start", self.name)
        await_true(
            self.answers, timeout_s=120, otherwise=lambda: f"{self.name} did not answer:\n{docker('logs', self.name)}"
        )

    def stop(self) -> None:
        docker("stop", self.name)

    def kill(self) -> None:
        if docker("inspect", "--format", "{{.State.Running}}", self.name).strip() == "true":
            docker("kill", self.name)

    def close(self) -> None:
        super().close()
        docker("rm", "--force", "--volumes", self.name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *command: str) -> str:
        """Run a command in the container and return its output."""
        return docker("exec", self.name, *command)


def docker(*arguments: str) -> str:
    """Run docker and return its output.

    Raises:
        ServiceError: It failed.
    """
    done = subprocess.run(
        ["docker", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = f"`docker {' '.join(arguments)}` failed with status {done.returncode}:\n{done.stdout}"
        raise ServiceError(message)
    return done.stdout
