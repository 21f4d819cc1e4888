"""The client of DynamoDB, with the forwarder's own keys. The role of the bus is not assumed for it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiobotocore.config import AioConfig

from forwarder.aws.credentials import Identity, StoredKeys, client_config
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.http_session import BoundedSession
from forwarder.aws.request_errors import CREDENTIAL_CODES, SIGNATURE_CODES

StoredKeysReader = Callable[[], StoredKeys | None]
"""Reads the keys that are stored now. It raises nothing."""

MAX_CONNECTIONS = 64
"""The connections of a client: as many as the requests that a table sends at the same time."""

REQUEST_SECONDS = 4.0
"""The longest time without data during a request. DynamoDB responds in milliseconds, unless the connection is gone.

After a NAT gateway or a firewall has forgotten the idle connections, a heartbeat may try two of them, and must still
come before others take this process over: https://github.com/boto/boto3/issues/2704,
https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html.
"""

MAX_TIMEOUTS = 3
"""The time limit of finding the keys, in multiples of the configured timeout."""

KEY_ID = "forwarder_key_id"
"""The entry in the context of a request of the SDK that has the id of its key."""


class TableSession(BoundedSession):
    """A session for responses of up to 16 MB, the limit of BatchGetItem, as base64 and JSON."""

    max_response_bytes = 32 * 1024 * 1024


@asynccontextmanager
async def dynamodb_client(
    identity: Identity, *, region: str = "", endpoint_url: str = "", stored_keys: StoredKeysReader | None = None
) -> AsyncIterator[Any]:
    """Yield a client that makes no retries. `region` and `endpoint_url` default to those of the settings or of AWS.

    Finding the keys raises DestinationError, as in every client of the forwarder. After a request whose keys were
    refused, they are read from their source again: another process may have renewed them in a file, which the SDK
    reads once (https://github.com/boto/botocore/issues/704). `stored_keys` reads those of the vault again.
    """
    destination = identity.destination.model_copy(update={"role_arn": "", "external_id": ""})
    identity = replace(identity, destination=destination)
    renewed = None if stored_keys is None else lambda: replace(identity, stored=stored_keys())
    keys = CurrentKeys(identity, MAX_TIMEOUTS * destination.timeout.total_seconds(), renewed)
    config = client_config(destination).merge(
        AioConfig(
            max_pool_connections=MAX_CONNECTIONS,
            http_session_cls=TableSession,
            connect_timeout=REQUEST_SECONDS,
            read_timeout=REQUEST_SECONDS,
        )
    )
    session = keys.client_session()
    async with session.create_client(
        "dynamodb", region_name=region or destination.region, endpoint_url=endpoint_url or None, config=config
    ) as client:
        client.meta.events.register_last("request-created.dynamodb", _save_key_id)
        client.meta.events.register("after-call.dynamodb", _invalidating(keys))
        yield client


def _save_key_id(request: Any, **_: Any) -> None:
    """Save the id of the key that signed a request, for the handler of its response.

    Other requests may be refused together with it. Only the first refusal must make the sources be read again.
    """
    credential = str(request.headers.get("Authorization", "")).partition("Credential=")[2]
    request.context[KEY_ID] = credential.partition("/")[0]


def _invalidating(keys: CurrentKeys) -> Callable[..., None]:
    """Return a handler of the SDK's event that follows a response."""

    def handle(parsed: Mapping[str, Any], context: Mapping[str, Any], **_: Any) -> None:
        if (parsed.get("Error") or {}).get("Code") in CREDENTIAL_CODES | SIGNATURE_CODES:
            keys.invalidate_key(context.get(KEY_ID, ""))

    return handle
