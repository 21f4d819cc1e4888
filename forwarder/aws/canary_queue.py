"""The queue to which a rule of the bus delivers test events. It proves that an event arrives behind the bus.

`infra/bus.yaml` creates the rule and the queue. AWS returns at most ten messages to a request, and hides them from
others for the visibility timeout: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html.
"""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import ClientError

from forwarder.aws.credentials import Identity
from forwarder.aws.request_errors import ACCESS_DENIED_CODES, ErrorResponse, error_before_request
from forwarder.clock import Clock
from forwarder.errors import CanaryQueueMissing, CanaryQueueRefused, DestinationError, SettingsError
from forwarder.untrusted_json import decode_or_none

NAME_SUFFIX = "-canary"
"""The end of the queue's name. It begins with the name of the bus."""

MAX_POLL_SECONDS = 5
"""The time for which one request waits for messages, unless the request timeout is shorter."""

VISIBILITY_SECONDS = 2
"""The time for which messages are hidden from others that wait for their own test events."""

MAX_MESSAGES = 10
"""SQS's limit for one request."""

AWS_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")
"""The ends of SQS's hosts: the usual and the legacy ones, those of VPC endpoints, and the dual-stack ones."""

LEGACY_HOST = "queue.amazonaws.com"
"""The legacy host of us-east-1. All other hosts contain their region: eu-west-1.queue.amazonaws.com."""

MISSING_CODES = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")

CREATE_HINT = "create the rule and the queue as infra/bus.yaml does, or name another queue with --queue"
ALLOW_HINT = "allow sqs:GetQueueUrl, sqs:ReceiveMessage and sqs:DeleteMessage on the queue, as infra/identity.yaml does"


class _Detail(msgspec.Struct, frozen=True, rename="camel"):
    canary_id: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    detail: _Detail = _Detail()


_envelopes = msgspec.json.Decoder(_Envelope)


class CanaryQueue:
    """A queue of test events. Without a `url`, it is found by its name: that of the bus and NAME_SUFFIX."""

    def __init__(self, identity: Identity, clock: Clock, url: str = "") -> None:
        """Raise SettingsError if the URL is not the address of a queue in the region of the bus."""
        self._identity = identity
        self._clock = clock
        self._url = url
        self._endpoint_url = _endpoint(url, identity.destination.region)
        self._poll_seconds = max(1, min(MAX_POLL_SECONDS, int(identity.destination.timeout.total_seconds() / 2)))
        self._exit_stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    @property
    def name(self) -> str:
        """Return the name of the queue, without its address."""
        if self._url:
            return urlsplit(self._url).path.rpartition("/")[2]
        return _bus_parts(self._identity.destination.event_bus)[1] + NAME_SUFFIX

    async def open(self) -> None:
        """Find the queue. Raise CanaryQueueMissing, CanaryQueueRefused or another DestinationError."""
        if self._url:
            await self._connect()
            return
        account, _ = _bus_parts(self._identity.destination.event_bus)
        owner = {"QueueOwnerAWSAccountId": account} if account else {}
        response = await self._call("get_queue_url", QueueName=self.name, **owner)
        self._url = str(response.get("QueueUrl", ""))

    async def wait_for(self, canary_id: str, seconds: float) -> bool:
        """Wait until the test event with this id arrives, then delete its message. Return False if it does not.

        Other messages stay in the queue. Raise CanaryQueueMissing, CanaryQueueRefused or another DestinationError.
        """
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            response = await self._call(
                "receive_message",
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_MESSAGES,
                WaitTimeSeconds=max(1, min(self._poll_seconds, int(left))),
                VisibilityTimeout=VISIBILITY_SECONDS,
            )
            for message in response.get("Messages") or ():
                envelope = decode_or_none(str(message.get("Body", "")).encode(errors="replace"), _envelopes)
                if envelope is not None and envelope.detail.canary_id == canary_id:
                    await self._call("delete_message", QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                    return True
        return False

    async def _connect(self) -> Any:
        if self._client is None:
            session = self._identity.session()
            options = self._identity.client_options("sqs")
            if self._endpoint_url:
                options["endpoint_url"] = self._endpoint_url
            self._client = await self._exit_stack.enter_async_context(session.create_client("sqs", **options))
        return self._client

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            client = await self._connect()
            response: dict[str, Any] = await getattr(client, operation)(**parameters)
        except Exception as error:  # noqa: BLE001  # the table classifies every error of the SDK
            raise self._queue_error(error) from None
        return response

    def _queue_error(self, error: Exception) -> DestinationError:
        if isinstance(error, ClientError):
            refusal = ErrorResponse.of(error)
            if refusal.code in MISSING_CODES:
                return CanaryQueueMissing(f"there is no queue {self.name}", code=refusal.code, hint=CREATE_HINT)
            if refusal.code in ACCESS_DENIED_CODES:
                message = f"the queue {self.name} may not be read: {refusal.text}"
                return CanaryQueueRefused(message, code=refusal.code, hint=ALLOW_HINT)
            if failure := refusal.common_error():
                return failure
            return CanaryQueueMissing(
                f"the queue {self.name} cannot be read: {refusal.text}", code=refusal.code, hint=CREATE_HINT
            )
        step = f"the queue {self.name} cannot be read"
        address = self._client.meta.endpoint_url if self._client else f"sqs.{self._identity.destination.region}"
        return error_before_request(error, step, address)


def _bus_parts(event_bus: str) -> tuple[str, str]:
    """Return the account in the ARN of a bus, or an empty string for a name, and the name."""
    if not event_bus.startswith("arn:"):
        return "", event_bus
    return event_bus.split(":")[4], event_bus.rpartition("/")[2]


def _endpoint(url: str, region: str) -> str:
    """Return the endpoint in the URL of a queue: that of an emulator or of a VPC endpoint, else an empty string.

    Raise SettingsError if the URL is not that of a queue in this region.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or not parts.path.strip("/"):
        raise SettingsError("--queue is not the URL of a queue", hint="it is the output CanaryQueue of infra/bus.yaml")
    is_aws = host.endswith(AWS_SUFFIXES)
    if is_aws and region not in ("us-east-1" if host == LEGACY_HOST else host).split("."):
        raise SettingsError(
            f"--queue is in another region than the bus: {host}", hint=f"name a queue in {region}, where the rule is"
        )
    # A VPC endpoint can be the only way to SQS. The SDK does not know it, but does know the other hosts of AWS.
    return "" if is_aws and ".vpce." not in host else f"{parts.scheme}://{parts.netloc}"
