"""The S3 bucket of whole payloads.

No header selects an encryption: the bucket's default applies, and a policy of the bucket cannot refuse such a request.
S3 verifies the SHA-256 of each object before it is stored:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html.
"""

import asyncio
from base64 import b64encode
from contextlib import AsyncExitStack
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import ClientError

from forwarder.aws.credentials import Identity
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.request_errors import (
    ACCESS_DENIED_CODES,
    CREDENTIAL_CODES,
    SIGNATURE_CODES,
    TRANSIENT_CODES,
    ErrorResponse,
    error_before_request,
)
from forwarder.errors import DestinationError, DestinationPaused, PayloadStoreError, PayloadStoreUnavailable

MAX_TIMEOUTS = 3
"""The time limit of one whole request with its response, in multiples of the configured timeout."""

REGION_CODES = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)
"""The codes for a bucket of another region."""

KMS_PREFIX = "KMS."

ALLOW_HINT = "allow s3:PutObject on the bucket, and kms:GenerateDataKey on its key, as infra/payloads.yaml does"


class PayloadBucket:
    """The bucket of the settings. Entering it with `async with` does no I/O."""

    def __init__(self, identity: Identity, bucket: str) -> None:
        self.bucket = bucket
        self._identity = identity
        self._timeout_seconds = MAX_TIMEOUTS * identity.destination.timeout.total_seconds()
        self._keys = CurrentKeys(identity, self._timeout_seconds)
        self._exit_stack = AsyncExitStack()
        self._connect_lock = asyncio.Lock()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    async def put(self, key: str, body: bytes) -> None:
        """Store an object, or the same object again.

        Raise PayloadStoreUnavailable if another attempt may succeed, and PayloadStoreError otherwise.
        """
        try:
            keys = await self._keys.find()
            async with asyncio.timeout(self._timeout_seconds):
                client = await self._connect()
                response = await client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType="application/json",
                    ChecksumSHA256=b64encode(sha256(body).digest()).decode(),
                )
        except Exception as error:  # noqa: BLE001  # the tables classify every error of the SDK
            failure = self._store_error(error)
            if isinstance(error, ClientError) and ErrorResponse.of(error).code in CREDENTIAL_CODES | SIGNATURE_CODES:
                self._keys.invalidate(keys)
            raise failure from None
        if not response.get("ETag"):  # the SDK returns a page of HTML as an empty response
            raise PayloadStoreUnavailable(
                f"the response for the bucket {self.bucket} cannot be decoded",
                hint="an intermediary responds in place of S3: check proxies, AWS_ENDPOINT_URL_S3, and endpoint_url"
                " if it is on loopback",
            )

    async def _connect(self) -> Any:
        async with self._connect_lock:
            if self._client is None:
                session = self._keys.client_session()
                self._client = await self._exit_stack.enter_async_context(
                    session.create_client("s3", **self._identity.client_options("s3"))
                )
            return self._client

    def _store_error(self, error: Exception) -> PayloadStoreError:
        where = f"the bucket {self.bucket}"
        if isinstance(error, ClientError):
            return self._refusal(ErrorResponse.of(error))
        if isinstance(error, TimeoutError):
            return PayloadStoreUnavailable(f"{where} gives no complete response in time")
        failure = error if isinstance(error, DestinationError) else error_before_request(error, where, where)
        kind = PayloadStoreError if isinstance(failure, DestinationPaused) else PayloadStoreUnavailable
        return kind(f"{where} cannot be reached: {failure.message}", hint=failure.hint)

    def _refusal(self, refusal: ErrorResponse) -> PayloadStoreError:
        where = f"the bucket {self.bucket}"
        if refusal.code in TRANSIENT_CODES or refusal.is_server_error:
            return PayloadStoreUnavailable(f"{where} fails: {refusal.text}")
        if refusal.code == "NoSuchBucket":
            return PayloadStoreError(f"there is no bucket {self.bucket}", hint="create it with infra/payloads.yaml")
        if refusal.code in REGION_CODES or refusal.status in (301, 307):
            hint = f"s3_bucket must be in the region of the bus, {self._identity.destination.region}"
            return PayloadStoreError(f"{where} is in another region: {refusal.text}", hint=hint)
        if refusal.code in SIGNATURE_CODES:
            hint = "check this machine's clock, then the AWS keys: `forwarder check`"
            return PayloadStoreError(f"{where} refuses the signature of the request: {refusal.text}", hint=hint)
        if refusal.code in ACCESS_DENIED_CODES or refusal.code.startswith(KMS_PREFIX):
            return PayloadStoreError(f"{where} refuses the payload: {refusal.text}", hint=ALLOW_HINT)
        return PayloadStoreError(f"{where} refuses the payload: {refusal.text}", hint="`forwarder check --send`")
