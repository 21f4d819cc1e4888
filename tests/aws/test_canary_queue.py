"""The canary queue against a server of SQS that refuses, fails and returns the messages of others."""

import json

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError

from forwarder.aws.canary_queue import CanaryQueue
from forwarder.aws.credentials import Identity
from forwarder.aws.http_session import BoundedSession
from forwarder.clock import SystemClock
from forwarder.errors import (
    CanaryQueueMissing,
    CanaryQueueRefused,
    DestinationError,
    DestinationUnavailable,
    SettingsError,
)
from tests.aws.harness import identity
from tests.fakes.eventbridge import REGION, StrictEventBridge
from tests.fakes.sqs import FakeSqs


@pytest.fixture
def caller(bridge: StrictEventBridge) -> Identity:
    return identity(bridge)


def arrived(canary_id: str) -> str:
    return json.dumps({"detail-type": "Forwarder Test", "detail": {"canaryId": canary_id, "added": {"by": "a tracer"}}})


async def test_only_the_own_message_is_deleted(caller: Identity) -> None:
    bodies = ["", "{not json", "[]", '"text"', '{"detail": 7}', '{"detail": {"canaryId": 7}}', "\ud83d", arrived("b")]
    with FakeSqs(*bodies, arrived("a")) as sqs:
        async with CanaryQueue(caller, SystemClock(), sqs.queue_url) as queue:
            await queue.open()
            assert queue.name == "failures-canary"
            assert await queue.wait_for("a", seconds=20)
    assert sqs.deleted == [f"handle-{len(bodies)}"]


async def test_event_that_does_not_arrive_ends_the_wait(caller: Identity) -> None:
    with FakeSqs(arrived("b")) as sqs:
        async with CanaryQueue(caller, SystemClock(), sqs.queue_url) as queue:
            assert not await queue.wait_for("a", seconds=0.2)
    assert (sqs.deleted, set(sqs.operations)) == ([], {"ReceiveMessage"})


@pytest.mark.parametrize(
    ("code", "expected", "exit_code"),
    [
        ("QueueDoesNotExist", CanaryQueueMissing, 69),
        ("AccessDeniedException", CanaryQueueRefused, 77),
        ("InternalFailure", DestinationUnavailable, 69),
        ("ThrottlingException", DestinationUnavailable, 69),
    ],
)
@pytest.mark.parametrize("operation", ["ReceiveMessage", "DeleteMessage"])
async def test_refusal_of_the_queue_is_explained(
    caller: Identity, operation: str, code: str, expected: type[DestinationError], exit_code: int
) -> None:
    with FakeSqs(arrived("a"), **{operation: code}) as sqs:
        async with CanaryQueue(caller, SystemClock(), sqs.queue_url) as queue:
            with pytest.raises(expected) as raised:
                await queue.wait_for("a", seconds=20)
    assert raised.value.exit_code == exit_code
    assert raised.value.hint or expected is DestinationUnavailable


async def test_unreachable_queue_is_explained(caller: Identity) -> None:
    with FakeSqs() as sqs:
        url = sqs.queue_url
    async with CanaryQueue(caller, SystemClock(), url) as queue:
        with pytest.raises(DestinationError, match=r"cannot be reached|cannot be read"):
            await queue.wait_for("a", seconds=20)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("failures-canary", "not the URL of a queue"),
        ("https://sqs.eu-central-1.amazonaws.com", "not the URL of a queue"),
        ("ftp://127.0.0.1/1/q", "not the URL of a queue"),
        ("https://sqs.us-east-1.amazonaws.com/123456789012/q", "another region than the bus"),
        ("https://sqs.us-east-1.api.aws/123456789012/q", "another region than the bus"),
        ("https://sqs.cn-north-1.api.amazonwebservices.com.cn/123456789012/q", "another region than the bus"),
        ("https://us-east-1.queue.amazonaws.com/123456789012/q", "another region than the bus"),
        ("https://queue.amazonaws.com/123456789012/q", "another region than the bus"),
        ("https://vpce-1.sqs.us-east-1.vpce.amazonaws.com/123456789012/q", "another region than the bus"),
    ],
)
def test_unusable_address_is_refused(caller: Identity, url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CanaryQueue(caller, SystemClock(), url)


@pytest.mark.parametrize(
    ("host", "region", "expected"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1", "sqs.eu-central-1.amazonaws.com"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", "sqs.cn-north-1.amazonaws.com.cn"),
        ("sqs.eu-central-1.api.aws", "eu-central-1", "sqs.eu-central-1.amazonaws.com"),
        ("eu-central-1.queue.amazonaws.com", "eu-central-1", "sqs.eu-central-1.amazonaws.com"),
        ("queue.amazonaws.com", "us-east-1", "sqs.us-east-1.amazonaws.com"),
        *[
            (host, "eu-central-1", host)
            for host in (
                "vpce-1.sqs.eu-central-1.vpce.amazonaws.com",
                "vpce-1-eu-central-1a.sqs.eu-central-1.vpce.amazonaws.com",
            )
        ],
    ],
)
async def test_queue_of_aws_is_called_at_the_host_for_its_url(
    bridge: StrictEventBridge, monkeypatch: pytest.MonkeyPatch, host: str, region: str, expected: str
) -> None:
    """The SDK knows the usual host. It does not know a VPC endpoint, so its host is that of the URL."""
    aws_identity = identity(bridge, region=region, endpoint_url="")
    addresses: list[str] = []

    async def send(_: object, request: AWSPreparedRequest) -> None:
        addresses.append(request.url)
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(BoundedSession, "send", send)
    async with CanaryQueue(aws_identity, SystemClock(), f"https://{host}/123456789012/tests") as queue:
        assert queue.name == "tests"
        with pytest.raises(DestinationUnavailable):
            await queue.wait_for("a", seconds=20)
    assert addresses == [f"https://{expected}/"]


@pytest.mark.parametrize("url", ["", f"https://sqs.{REGION}.amazonaws.com/123456789012/failures-canary"])
async def test_queue_of_an_emulator_is_called_at_endpoint_url(bridge: StrictEventBridge, url: str) -> None:
    with FakeSqs(arrived("a")) as sqs:
        async with CanaryQueue(identity(bridge, endpoint_url=sqs.url), SystemClock(), url) as queue:
            await queue.open()
            assert await queue.wait_for("a", seconds=20)
    assert sqs.deleted == ["handle-0"]
