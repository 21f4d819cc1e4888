"""The bus of the forwarder, connected to a strict fake of EventBridge."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.eventbridge import Event, EventBridgeBus, PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.settings.models import variable
from tests.factories import some_settings
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.virtual_clock import NOON, QuickClock


def stored_keys(key: Key = KEY) -> StoredKeys:
    return StoredKeys(SecretStr(key.id), SecretStr(key.secret), None if key.token is None else SecretStr(key.token))


def identity(bridge: StrictEventBridge, key: Key | None = KEY, **destination: Any) -> Identity:
    settings = {"event_bus": BUS, "region": REGION, "endpoint_url": bridge.url, "timeout": "1s"}
    settings["client"] = os.environ.get(variable("destination.client"), "direct")
    settings |= destination
    return Identity(some_settings(destination=settings).destination, None if key is None else stored_keys(key))


@asynccontextmanager
async def open_bus(
    bridge: StrictEventBridge, key: Key | None = KEY, clock: QuickClock | None = None, **destination: Any
) -> AsyncIterator[VerifiedBus]:
    clock = clock or QuickClock()
    aws_identity = identity(bridge, key, **destination)
    async with EventBridgeBus(aws_identity, clock) as bus:
        yield VerifiedBus(bus, clock, verify=aws_identity.destination.verify)


def events(ids: str = "ab") -> list[Event]:
    return [Event("alloy.embedded", "Failed", NOON, b'{"executionId":"%s"}' % each.encode()) for each in ids]


def delivered(bridge: StrictEventBridge) -> str:
    return "".join(event.detail["executionId"] for event in bridge.delivered)


async def publish_ids(bridge: StrictEventBridge, ids: str = "ab", **options: Any) -> PublishResult:
    async with open_bus(bridge, **options) as bus:
        result = await bus.publish(events(ids))
    assert not isinstance(result, RequestRefusal)
    return result


async def raised_by(exc_type: type[Exception], call: Callable[[], Any]) -> Any:
    with pytest.raises(exc_type) as raised:
        await call()
    assert type(raised.value) is exc_type
    return raised.value


def served(bridge: StrictEventBridge) -> list[str]:
    return [request.operation for request in bridge.served]
