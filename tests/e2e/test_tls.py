"""TLS: a server without a trusted certificate receives no request, and no setting or common variable changes that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.certificates import DAY, Certificate, self_signed
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.harness.installation import CommandResult, Installation

pytestmark = pytest.mark.long

CERTIFICATES: dict[str, Callable[[Path], Certificate]] = {
    "signed by itself": self_signed,
    "of another address": lambda folder: self_signed(folder, address="127.0.0.2"),
    "of the past": lambda folder: self_signed(folder, ended=DAY),
}

WEAKENING = {
    "PYTHONHTTPSVERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "SSL_VERIFY": "false",
    "HTTPX_VERIFY": "0",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "GIT_SSL_NO_VERIFY": "1",
    "AWS_VERIFY_SSL": "false",
    "AWS_NO_VERIFY_SSL": "1",
}
"""Variables that disable verification in other programs, or that are believed to do so."""

EMPTY_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def trusting(certificate: Certificate) -> dict[str, str]:
    return {"SSL_CERT_FILE": str(certificate.file), "AWS_CA_BUNDLE": str(certificate.file)}


@pytest.fixture(params=CERTIFICATES)
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate:
    return create_certificate(tmp_path, CERTIFICATES[request.param])


@pytest.fixture
def environment(request: pytest.FixtureRequest, certificate: Certificate) -> dict[str, str]:
    """Return the variables that are most likely to make a program trust the certificate."""
    is_self_signed = request.node.callspec.params["certificate"] == "signed by itself"
    return WEAKENING if is_self_signed else trusting(certificate)


def create_certificate(folder: Path, kind: Callable[[Path], Certificate] = self_signed) -> Certificate:
    certificates = folder / "certificates"
    certificates.mkdir()
    return kind(certificates)


@pytest.fixture
def untrusted(certificate: Certificate) -> Iterator[tuple[FakeAlloy, StrictEventBridge]]:
    with FakeAlloy(tls=certificate.server) as alloy, StrictEventBridge(tls=certificate.server) as bus:
        fail(alloy, "x")
        yield alloy, bus


def clean(done: CommandResult) -> CommandResult:
    assert "Traceback" not in done.output
    assert not [secret for secret in (API_KEY, KEY.secret, KEY.id) if secret in done.output]
    return done


def test_untrusted_source_is_sent_no_request(
    installation: Installation, untrusted: tuple[FakeAlloy, StrictEventBridge], environment: dict[str, str]
) -> None:
    alloy, _ = untrusted
    installation.change("source", base_url=alloy.url)
    installation.env = environment
    assert clean(installation.run_command("once")).code == 69
    assert alloy.requests == []
    assert clean(installation.run_command("check")).code == 69
    assert clean(installation.run_command("logs", "w")).code == 69
    assert alloy.requests == []


def test_untrusted_bus_is_sent_no_request(
    installation: Installation,
    alloy: FakeAlloy,
    untrusted: tuple[FakeAlloy, StrictEventBridge],
    environment: dict[str, str],
) -> None:
    _, bus = untrusted
    fail(alloy, "x")
    installation.change("destination", endpoint_url=bus.url)
    installation.env = environment
    done = clean(installation.run_command("once", "--timeout", "1s"))
    assert done.code == 69
    assert installation.counters()["pending"] == 1
    assert clean(installation.run_command("check")).code == 69
    assert bus.served == []


@pytest.mark.parametrize("name", EMPTY_BUNDLES)
def test_empty_certificate_bundle_trusts_nothing_and_is_named(
    installation: Installation, alloy: FakeAlloy, tmp_path: Path, name: str
) -> None:
    with StrictEventBridge(tls=create_certificate(tmp_path).server) as bus:
        fail(alloy, "x")
        installation.change("destination", endpoint_url=bus.url)
        installation.env = {name: ""}
        done = clean(installation.run_command("once", "--timeout", "1s"))
        assert done.code in {69, 77}
        assert bus.served == []
        assert clean(installation.run_command("check")).code in {69, 77}
        assert bus.served == []


def test_configured_certificates_are_trusted(installation: Installation, tmp_path: Path) -> None:
    """Without this test, a server that accepts no connection would pass all the others."""
    certificate = create_certificate(tmp_path)
    with FakeAlloy(tls=certificate.server) as alloy, StrictEventBridge(tls=certificate.server) as bus:
        fail(alloy, "x")
        installation.change("source", base_url=alloy.url)
        installation.change("destination", endpoint_url=bus.url)
        installation.env = trusting(certificate)
        assert installation.run_command("once").code == 0
        assert sent(bus) == ["x"]


@pytest.mark.parametrize(("section", "field"), [("source", "base_url"), ("destination", "endpoint_url")])
def test_plain_http_to_another_machine_is_refused(installation: Installation, section: str, field: str) -> None:
    installation.change(section, **{field: "http://shop.example"})
    done = clean(installation.run_command("once"))
    assert done.code == 78
    assert "https" in done.err


@pytest.mark.parametrize("field", ["verify_ssl", "insecure", "tls_verify"])
def test_no_setting_disables_verification(installation: Installation, field: str) -> None:
    for section in ("source", "destination"):
        installation.change(section, **{field: False})
        assert clean(installation.run_command("check")).code == 78
        installation.change(section, **{field: None})


def test_verify_false_leaves_certificates_verified(
    installation: Installation, alloy: FakeAlloy, tmp_path: Path
) -> None:
    """The setting is about the existence of the bus."""
    with StrictEventBridge(tls=create_certificate(tmp_path).server) as bus:
        fail(alloy, "x")
        installation.change("destination", endpoint_url=bus.url, verify=False)
        assert clean(installation.run_command("once", "--timeout", "1s")).code == 69
        assert bus.served == []
