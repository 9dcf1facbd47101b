"""TLS, on a node that trusts one authority and asks its clients for a certificate."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.rabbitmq.laboratory import Laboratory, until
from tests.services import RabbitContainer, RabbitNode, private_rabbit


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.ca = self._certify("ca", f"/CN=The {name} authority", "basicConstraints=critical,CA:TRUE")

    def certify(self, name: str, *, host: str) -> tuple[Path, Path]:
        """Return a certificate for a host, and its key."""
        issued_by = ("-CA", str(self.ca), "-CAkey", str(self.folder / "ca.key"))
        only = "basicConstraints=critical,CA:FALSE"
        certificate = self._certify(name, f"/CN={host}", only, "-addext", f"subjectAltName=DNS:{host}", *issued_by)
        return certificate, certificate.with_suffix(".key")

    def _certify(self, name: str, subject: str, constraints: str, *options: str) -> Path:
        certificate = self.folder / f"{name}.pem"
        ends = ["-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate), "-days", "2"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        made = ["openssl", "req", "-x509", *key, *ends, "-subj", subject, "-addext", constraints, *options]
        subprocess.run(made, check=True, capture_output=True)
        return certificate


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "right")


@pytest.fixture(scope="module")
def node(ours: Authority) -> Iterator[RabbitNode | RabbitContainer]:
    certificate, key = ours.certify("server", host="localhost")
    shown = {"ca.pem": ours.ca, "server.pem": certificate, "server.key": key}
    with private_rabbit(tls={name: path.read_text() for name, path in shown.items()}) as running:
        yield running


@pytest.fixture
async def lab(node: RabbitNode | RabbitContainer) -> AsyncIterator[Laboratory]:
    laboratory = Laboratory(node.url)
    yield laboratory
    await laboratory.aclose()


@pytest.fixture(scope="module")
def tls(ours: Authority) -> dict[str, str]:
    """What gets in."""
    certificate, key = ours.certify("client", host="sagad")
    return {"tls_ca": str(ours.ca), "tls_cert": str(certificate), "tls_key": str(key)}


async def test_events_travel_over_tls_between_those_who_show_their_certificates(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str]
) -> None:
    bus = await lab.bus(url=node.tls_url, **tls)

    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")

    assert (await inbox.next()).message.body == b"{}"


async def test_a_broker_of_another_authority_is_not_trusted(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str], tmp_path: Path
) -> None:
    other = Authority(tmp_path, "wrong")

    bus = await lab.bus(url=node.tls_url, **tls | {"tls_ca": str(other.ca)})

    await until(lambda: bus.trouble != "")
    assert not bus.connected
    assert "is not trusted: self" in bus.trouble
    assert "Check broker.tls_ca" in bus.trouble


async def test_a_broker_under_another_name_than_its_certificate_s_is_not_trusted(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str]
) -> None:
    bus = await lab.bus(url=node.tls_url.replace("localhost", "127.0.0.1"), **tls)

    await until(lambda: bus.trouble != "")
    assert not bus.connected
    assert "certificate is not valid for '127.0.0.1'" in bus.trouble


async def test_who_shows_no_certificate_is_refused_and_told_which_key_it_takes(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str]
) -> None:
    bus = await lab.bus(url=node.tls_url, tls_ca=tls["tls_ca"])

    # The broker may have closed before its answer was read; it gives the same one at the next attempt.
    await until(lambda: "(alert certificate required): check broker.tls_cert" in bus.trouble)
    assert not bus.connected
    assert "guest:guest" not in bus.trouble


async def test_who_shows_a_certificate_of_another_authority_is_refused(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str], tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path, "wrong").certify("client", host="sagad")

    bus = await lab.bus(url=node.tls_url, **tls | {"tls_cert": str(certificate), "tls_key": str(key)})

    # The broker may have closed before its answer was read; it gives the same one at the next attempt.
    await until(lambda: "(alert unknown ca): check broker.tls_cert" in bus.trouble)
    assert not bus.connected


async def test_a_certificate_that_is_not_there_is_named_by_its_key(
    node: RabbitNode | RabbitContainer, lab: Laboratory, tls: dict[str, str]
) -> None:
    bus = await lab.bus(url=node.tls_url, **tls | {"tls_cert": "/nowhere/client.pem"})

    await until(lambda: bus.trouble != "")
    assert "tls_ca, tls_cert or tls_key names cannot be read: No such file" in bus.trouble
