"""Failed connections to AWS: the error names the cause and the variable or file that fixes it, with exit code 69."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forwarder.aws.credential_chain import load_keys
from forwarder.aws.eventbridge import EventBridgeBus
from forwarder.clock import SystemClock
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable
from tests.aws.harness import events, stored_keys
from tests.fakes import credential_endpoints as endpoints
from tests.fakes.actions import Hang, HttpResponse
from tests.fakes.certificates import self_signed
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.signing import Key
from tests.reality.aws_chain import SECRET, Chain
from tests.reality.credential_cases import FULL

if TYPE_CHECKING:
    from tests.fakes.certificates import Certificate

ROLE = "arn:aws:iam::123456789012:role/publisher"


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    return Chain(tmp_path, monkeypatch)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return self_signed(folder)


@pytest.fixture
def sts(certificate: Certificate) -> Iterator[StrictEventBridge]:
    """Yield an STS with a self-signed certificate."""
    with StrictEventBridge(tls=certificate.server) as bridge:
        bridge.roles[ROLE] = None
        yield bridge


async def refusal(chain: Chain, env: dict[str, str], files: dict[str, str | bytes] | None = None) -> DestinationError:
    """Return the error of a role that is assumed with stored keys. Delivery waits for the network."""
    chain.plant(env, files or {})
    error = await chain.refusal(stored_keys(), role_arn=ROLE)
    assert isinstance(error, DestinationUnavailable)
    assert (error.exit_code, error.code, bool(error.hint)) == (69, "unreachable", True)
    assert "destination.role_arn" in error.message
    return error


async def test_untrusted_certificate_names_aws_ca_bundle(chain: Chain, sts: StrictEventBridge) -> None:
    error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": sts.url})
    assert "not trusted" in error.message
    assert "AWS_CA_BUNDLE" in error.hint


async def test_untrusted_certificate_names_the_ineffective_variable(
    chain: Chain, sts: StrictEventBridge, certificate: Certificate
) -> None:
    error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": sts.url, "SSL_CERT_FILE": str(certificate.file)})
    assert f"SSL_CERT_FILE is set, but has no effect here: set AWS_CA_BUNDLE too, to {certificate.file}" in error.hint


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_certificate_bundle_is_used_for_sts(
    variable: str, chain: Chain, sts: StrictEventBridge, certificate: Certificate
) -> None:
    chain.plant({"AWS_ENDPOINT_URL_STS": sts.url, variable: str(certificate.file)}, {})
    assert (await load_keys(chain.identity(stored_keys(), role_arn=ROLE).session())).token


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(("content", "fault"), [(None, "does not exist"), ("nonsense", "no certificate")])
async def test_unreadable_certificate_bundle_is_named(
    variable: str, content: str | None, fault: str, chain: Chain, sts: StrictEventBridge
) -> None:
    files: dict[str, str | bytes] = {} if content is None else {"bundle.pem": content}
    error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": sts.url, variable: "{home}/bundle.pem"}, files)
    assert f"{variable} names {chain.home}/bundle.pem, which" in error.message
    assert fault in error.message
    assert variable in error.hint


async def test_certificate_bundle_of_a_profile_is_named_with_its_file(chain: Chain, sts: StrictEventBridge) -> None:
    pair = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED000000001", "AWS_SECRET_ACCESS_KEY": SECRET}
    profile = "[profile corp]\nca_bundle = {home}/none.pem\n"
    env = pair | {"AWS_PROFILE": "corp", "AWS_ENDPOINT_URL_STS": sts.url}
    chain.plant(env, {".aws/config": profile})
    error = await chain.refusal(role_arn=ROLE)
    named = f'ca_bundle of the profile "corp" (AWS_PROFILE) in {chain.home}/.aws/config'
    assert f"{named} names {chain.home}/none.pem" in error.message


async def test_host_without_an_address_names_the_region(chain: Chain) -> None:
    error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": "https://sts.eu-nowhere-1.invalid"})
    assert "sts.eu-nowhere-1.invalid" in error.message
    assert "cannot be resolved" in error.message
    assert "destination.region" in error.hint


async def test_refused_connection_names_the_host(chain: Chain) -> None:
    error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"})
    assert "AWS STS at 127.0.0.1:9 cannot be reached: the connection is refused" in error.message


async def test_timeout_of_sts_is_named(chain: Chain) -> None:
    with endpoints.always(Hang(60)) as server:
        error = await refusal(chain, {"AWS_ENDPOINT_URL_STS": server.url})
    assert "no response in time" in error.message


@pytest.mark.parametrize(
    ("status", "word"), [(403, "refuses to connect"), (407, "refuses to connect"), (502, "cannot connect")]
)
async def test_refusing_proxy_is_named_without_its_password(status: int, word: str, chain: Chain) -> None:
    with endpoints.always(HttpResponse(status)) as proxy:
        address = proxy.url.replace("//", f"//user:{SECRET}@")
        error = await refusal(chain, {"HTTPS_PROXY": address})
    assert f"the proxy {proxy.url.removeprefix('http://')} {word} to it ({status})" in error.message


async def test_unreachable_proxy_is_named_without_its_password(chain: Chain) -> None:
    error = await refusal(chain, {"HTTPS_PROXY": f"http://user:{SECRET}@127.0.0.1:9"})
    assert "the proxy 127.0.0.1:9: the connection is refused" in error.message
    assert "HTTPS_PROXY" in error.hint


async def test_pod_identity_is_requested_without_a_proxy(chain: Chain) -> None:
    """The endpoint of EKS Pod Identity needs no entry in NO_PROXY."""
    key = Key("AKIAPLANTED000000001", SECRET, "token")
    with endpoints.always(endpoints.answer(endpoints.credentials(key))) as server:
        chain.plant({FULL: server.url, "HTTP_PROXY": "http://127.0.0.1:9"}, {})
        assert (await load_keys(chain.identity().session())).access_key == key.id


EMPTY_BUNDLES = {
    "AWS_CA_BUNDLE": ({"AWS_CA_BUNDLE": ""}, {}, "unset AWS_CA_BUNDLE, which is empty"),
    "blank": ({"AWS_CA_BUNDLE": " "}, {}, "unset AWS_CA_BUNDLE, which is empty"),
    "REQUESTS_CA_BUNDLE": ({"REQUESTS_CA_BUNDLE": ""}, {}, "unset REQUESTS_CA_BUNDLE, which is empty"),
    "profile": ({}, {".aws/config": "[default]\nca_bundle =\n"}, "remove ca_bundle from the AWS profile"),
}


@pytest.mark.parametrize("name", EMPTY_BUNDLES)
async def test_empty_certificate_bundle_is_named(name: str, chain: Chain) -> None:
    """Compose and CI pass a variable that is not set as an empty one."""
    env, files, hint = EMPTY_BUNDLES[name]
    pair = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED000000001", "AWS_SECRET_ACCESS_KEY": SECRET}
    chain.plant(pair | env, dict(files))
    role = await chain.refusal(role_arn=ROLE)
    async with EventBridgeBus(chain.identity(), SystemClock()) as bus:
        with pytest.raises(DestinationError) as raised:
            await bus.publish(events())
    for error in (role, raised.value):
        assert (type(error), error.code) == (DestinationRefused, "certificates")
        assert error.hint.startswith(hint)
        assert "trusted certificates" in error.message
