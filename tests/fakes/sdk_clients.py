"""The SDK clients of the strict EventBridge's own tests, with one attempt and short timeouts."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable


shared_session = functools.cache(get_session)
"""Return the session of these tests. A session of its own would parse the service models again."""


def entry(execution_id: str, bus: str = BUS) -> dict[str, Any]:
    return {
        "Time": utc_now(),
        "Source": "alloy.embedded",
        "DetailType": "Workflow Execution Failed",
        "Detail": json.dumps({"executionId": execution_id}),
        "EventBusName": bus,
    }


READ_SECONDS = 20.0
"""The time that a response may take on a busy machine."""


def a_client(
    bridge: StrictEventBridge, service: str = "events", key: Key = KEY, *, read_seconds: float = READ_SECONDS
) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=bridge.url,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=READ_SECONDS, read_timeout=read_seconds),
    )


def put(bridge: StrictEventBridge, *ids: str, key: Key = KEY, read_seconds: float = READ_SECONDS) -> dict[str, Any]:
    """Publish with aiobotocore."""
    config = AioConfig(retries={"total_max_attempts": 1}, connect_timeout=READ_SECONDS, read_timeout=read_seconds)

    async def publish() -> dict[str, Any]:
        async with shared_session().create_client(
            "events",
            region_name=REGION,
            endpoint_url=bridge.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.token,
            config=config,
        ) as client:
            return dict(await client.put_events(Entries=[entry(execution_id) for execution_id in ids or "ab"]))

    return asyncio.run(publish())


def delivered(bridge: StrictEventBridge) -> str:
    return "".join(event.detail["executionId"] for event in bridge.delivered)


def code_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(*args, **kwargs)
    return str(raised.value.response["Error"]["Code"])
