"""The credentials in use: the stored keys, otherwise the ambient ones, and a role assumed with either."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from forwarder.aws.credentials import Service, StoredKeys
from forwarder.errors import DestinationRefused, VaultError
from forwarder.vault import AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
from tests.aws.harness import delivered, events, identity, open_bus, publish_ids, raised_by, stored_keys
from tests.fakes.eventbridge import KEY, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.vault.vault_folder import VaultFolder
from tests.virtual_clock import NOON

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"
VARIABLES = {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret}


@pytest.fixture(autouse=True)
def no_ambient_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


async def test_ambient_keys_are_used_without_stored_ones(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    await publish_ids(bridge, key=None)
    assert delivered(bridge) == "ab"


async def test_invalid_stored_keys_are_never_replaced_by_ambient_ones(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with open_bus(bridge, Key("AKIABROKEN0000000001", "broken")) as bus:
        await raised_by(DestinationRefused, lambda: bus.publish(events()))
    assert delivered(bridge) == ""


async def test_missing_keys_refuse_delivery_with_hint(bridge: StrictEventBridge) -> None:
    async with open_bus(bridge, None) as bus:
        error = await raised_by(DestinationRefused, lambda: bus.publish(events()))
    assert (error.exit_code, bool(error.hint)) == (77, True)


async def test_endless_credential_process_times_out(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sleep 1000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    async with open_bus(bridge, None, timeout="100ms") as bus, asyncio.timeout(20):
        error = await raised_by(DestinationRefused, lambda: bus.publish(events()))
    assert "credential_process" in error.message


@pytest.mark.parametrize("external_id", ["", "shared"])
async def test_role_is_assumed_with_stored_keys(bridge: StrictEventBridge, external_id: str) -> None:
    bridge.roles[ROLE] = external_id or None
    await publish_ids(bridge, role_arn=ROLE, external_id=external_id)
    assert delivered(bridge) == "ab"
    (session,) = [key for key in bridge.keys.values() if key.token]
    assert session.arn.endswith(":assumed-role/publisher/forwarder")


@pytest.mark.parametrize("external_id", ["", "wrong"])
async def test_denied_role_is_refused(bridge: StrictEventBridge, external_id: str) -> None:
    bridge.roles[ROLE] = "shared"
    async with open_bus(bridge, role_arn=ROLE, external_id=external_id) as bus:
        await raised_by(DestinationRefused, lambda: bus.publish(events()))
    assert delivered(bridge) == ""


async def test_role_is_assumed_once_for_many_requests(bridge: StrictEventBridge) -> None:
    bridge.roles[ROLE] = None
    async with open_bus(bridge, role_arn=ROLE) as bus:
        for each in "abcd":
            await bus.publish(events(each))
    assert [request.operation for request in bridge.served].count("STS") == 1


async def test_expired_session_is_refused(bridge: StrictEventBridge) -> None:
    old = Key("ASIAOLD0000000000001", "secret", "token", utc_now() - timedelta(seconds=1))
    bridge.keys[old.id] = old
    async with open_bus(bridge, old) as bus:
        assert (await raised_by(DestinationRefused, lambda: bus.publish(events()))).code == "ExpiredTokenException"


async def test_caller_names_the_source_of_its_keys(bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bridge.url)
    bridge.roles[ROLE] = None
    for role_arn, expected in (("", "the vault"), (ROLE, "destination.role_arn")):
        aws_identity = identity(bridge, role_arn=role_arn)
        assert expected in await aws_identity.caller(aws_identity.session())


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
    ],
)
async def test_sts_uses_the_region_of_the_settings(bridge: StrictEventBridge, region: str, host: str) -> None:
    aws_identity = identity(bridge, region=region, endpoint_url="")
    async with aws_identity.session().create_client("sts", **aws_identity.client_options("sts")) as sts:
        assert sts.meta.endpoint_url == f"https://{host}"


@pytest.mark.parametrize("service", ["events", "sts", "sqs", "s3"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_emulator_on_loopback_serves_every_service(
    bridge: StrictEventBridge, host: str, service: Service
) -> None:
    aws_identity = identity(bridge, endpoint_url=f"http://{host}:5000")
    async with aws_identity.session().create_client(service, **aws_identity.client_options(service)) as client:
        assert client.meta.endpoint_url == f"http://{host}:5000"
        assert client.meta.config.connect_timeout == 1  # the options of the session still apply


@pytest.mark.parametrize("service", ["sts", "sqs", "s3"])
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_{}", "AWS_ENDPOINT_URL"])
async def test_variable_of_the_sdk_has_precedence_over_the_emulator(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch, variable: str, service: Service
) -> None:
    monkeypatch.setenv(variable.format(service.upper()), "http://127.0.0.1:9")
    aws_identity = identity(bridge)
    async with aws_identity.session().create_client(service, **aws_identity.client_options(service)) as client:
        assert client.meta.endpoint_url == "http://127.0.0.1:9"


@pytest.mark.parametrize("service", ["sts", "sqs", "s3"])
async def test_other_endpoint_serves_eventbridge_only(bridge: StrictEventBridge, service: Service) -> None:
    vpc_endpoint = f"https://vpce-1.events.{REGION}.vpce.amazonaws.com"
    aws_identity = identity(bridge, endpoint_url=vpc_endpoint)
    assert aws_identity.client_options("events")["endpoint_url"] == vpc_endpoint
    async with aws_identity.session().create_client(service, **aws_identity.client_options(service)) as client:
        assert client.meta.endpoint_url == f"https://{service}.{REGION}.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoint_url", "expected"),
    [
        ("http://localhost:5000", "http://localhost:5000/details/key?"),
        ("", "https://details.s3."),
    ],
)
async def test_bucket_of_an_emulator_is_in_the_path(
    bridge: StrictEventBridge, endpoint_url: str, expected: str
) -> None:
    aws_identity = identity(bridge, endpoint_url=endpoint_url)
    async with aws_identity.session().create_client("s3", **aws_identity.client_options("s3")) as s3:
        url = await s3.generate_presigned_url("put_object", Params={"Bucket": "details", "Key": "key"})
    assert url.startswith(expected)


def test_incomplete_keys_in_the_vault_are_an_error(tmp_path: Path) -> None:
    vault_folder = VaultFolder(tmp_path)
    vault_folder.make_key()
    vault = vault_folder.open()
    assert StoredKeys.of(vault) is None
    vault.set(AWS_SESSION_TOKEN, "planted-token", NOON)
    for name in (AWS_SECRET_ACCESS_KEY, AWS_ACCESS_KEY_ID):
        with pytest.raises(VaultError, match="missing") as raised:
            StoredKeys.of(vault)
        assert "keys set" in raised.value.hint
        vault.set(name, f"planted-{name}", NOON)
    keys = StoredKeys.of(vault)
    assert keys is not None
    assert keys.client_arguments() == {
        "aws_access_key_id": f"planted-{AWS_ACCESS_KEY_ID}",
        "aws_secret_access_key": f"planted-{AWS_SECRET_ACCESS_KEY}",
        "aws_session_token": "planted-token",
    }


def test_representations_contain_no_key(bridge: StrictEventBridge) -> None:
    key = Key("AKIAPLANTED000000009", "planted-secret", "planted-token")
    aws_identity = identity(bridge, key)
    displayed = f"{aws_identity} {aws_identity!r} {aws_identity.stored!r} {stored_keys(key)} {aws_identity.origin}"
    assert not [secret for secret in (key.id, key.secret, key.token) if str(secret) in displayed]


def test_sessions_share_the_service_models_of_their_data_path(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Parsing the models is most of the cost of a client, so a second session does not parse them again."""
    monkeypatch.delenv("AWS_DATA_PATH", raising=False)
    first, second = (identity(bridge).session().get_component("data_loader") for _ in range(2))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    other = identity(bridge).session().get_component("data_loader")
    assert first is second
    assert first.load_service_model("events", "service-2") is second.load_service_model("events", "service-2")
    assert str(tmp_path) in other.search_paths
    assert str(tmp_path) not in first.search_paths
