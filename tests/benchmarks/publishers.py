"""Everybody who can publish: each takes a turn of so many seconds, and returns its entries per second.

Keys and region are the sink's business as little as the signature: it accepts whatever comes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from pydantic import SecretStr
from pydantic_core import to_json

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.eventbridge import Event, EventBridgeBus, PublishResult
from forwarder.aws.put_events import PutEventsClient
from forwarder.aws.responses import entry_outcome, is_valid_response
from forwarder.aws.sigv4 import Signer
from forwarder.clock import SystemClock
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.model import Accepted
from tests.benchmarks.comparison import Turn
from tests.benchmarks.sink import EVENT_ID
from tests.factories import some_settings

IN_FLIGHT = 16
BATCH = 10
BUS = "bench"
REGION = "eu-central-1"
SOURCE = "alloy.embedded"
DETAIL_TYPE = "Workflow Execution Failed"
KEYS = {"aws_access_key_id": "AKIAPLANTED000000001", "aws_secret_access_key": "planted/secret+key/0001"}


def entries(detail: bytes, count: int = BATCH) -> list[dict[str, Any]]:
    """As an SDK takes them."""
    one = {
        "Time": SystemClock().now(),
        "Source": SOURCE,
        "DetailType": DETAIL_TYPE,
        "Detail": detail.decode(),
        "EventBusName": BUS,
    }
    return [dict(one) for _ in range(count)]


async def rate_of(send: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """Entries per second of requests of ten, with IN_FLIGHT of them in flight all the time."""
    began = time.perf_counter()
    sent = 0

    async def keep_sending() -> None:
        nonlocal sent
        while time.perf_counter() - began < seconds:
            await send()
            sent += BATCH

    await asyncio.gather(*(keep_sending() for _ in range(IN_FLIGHT)))
    return sent / (time.perf_counter() - began)


def forwarder(url: str, detail: bytes) -> Turn:
    """The forwarder's own bus, as its delivery uses it."""
    destination = {"event_bus": BUS, "region": REGION, "endpoint_url": url, "concurrency": IN_FLIGHT}
    keys = StoredKeys(*map(SecretStr, KEYS.values()))
    identity = Identity(some_settings(destination=destination).destination, keys)
    events = [Event(SOURCE, DETAIL_TYPE, SystemClock().now(), detail)] * BATCH

    async def publish(seconds: float) -> float:
        async with EventBridgeBus(identity, SystemClock()) as eventbridge:
            bus = VerifiedBus(eventbridge, SystemClock(), verify=identity.destination.verify)
            answer = await bus.publish(events)
            assert isinstance(answer, PublishResult)
            assert all(isinstance(outcome, Accepted) for outcome in answer.outcomes)
            return await rate_of(lambda: bus.publish(events), seconds)

    return lambda seconds: asyncio.run(publish(seconds))


def prepared(url: str, detail: bytes) -> Turn:
    """The forwarder's own transport, with a request that was serialised and signed once, and need only be sent."""
    body = msgspec.json.encode({"Entries": [{**entry, "Time": 0} for entry in entries(detail)]})
    headers = Signer(url, REGION).headers(ReadOnlyCredentials(*KEYS.values(), None, None), body, int(time.time()))

    async def publish(seconds: float) -> float:
        async with PutEventsClient(url, REGION, seconds=10, connections=IN_FLIGHT) as client:
            await client.send(body, headers)
            return await rate_of(lambda: client.send(body, headers), seconds)

    return lambda seconds: asyncio.run(publish(seconds))


def parts(detail: bytes) -> dict[str, Turn]:
    """What is done for a request beside sending it, each by itself."""
    batch = [{**entry, "Time": 0} for entry in entries(detail)]
    texts = [entry.pop("Detail").encode() for entry in batch]
    body = msgspec.json.encode({"Entries": [{**entry, "Detail": detail.decode()} for entry in batch]})
    keys, signer = ReadOnlyCredentials(*KEYS.values(), None, None), Signer("http://127.0.0.1", REGION)
    answer = msgspec.json.encode({"FailedEntryCount": 0, "Entries": [{"EventId": EVENT_ID.format(0)}] * BATCH})

    def serialise() -> object:
        return to_json({"Entries": [{**entry, "Detail": text} for entry, text in zip(batch, texts, strict=True)]})

    def understand() -> object:
        said = msgspec.json.decode(answer)
        return is_valid_response(said, BATCH) and [entry_outcome(entry) for entry in said["Entries"]]

    return {
        "serialising": _alone(serialise),
        "signing": _alone(lambda: signer.headers(keys, body, 0)),
        "understanding the answer": _alone(understand),
    }


def _alone(work: Callable[[], object]) -> Turn:
    def entries_of(seconds: float) -> float:
        began, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds / 5:
            work()
            done += BATCH
        return done / passed

    return entries_of


def aiobotocore(url: str, detail: bytes) -> Turn:
    batch = entries(detail)
    config = AioConfig(max_pool_connections=IN_FLIGHT, retries={"total_max_attempts": 1, "mode": "standard"})

    async def publish(seconds: float) -> float:
        async with AioSession().create_client(
            "events", region_name=REGION, endpoint_url=url, config=config, **KEYS
        ) as client:
            await client.put_events(Entries=batch)
            return await rate_of(lambda: client.put_events(Entries=batch), seconds)

    return lambda seconds: asyncio.run(publish(seconds))


def blocking(url: str, detail: bytes, count: int = BATCH) -> Turn:
    """boto3, one call after the other, of so many entries each."""
    batch = entries(detail, count)
    config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    client = boto3.Session(region_name=REGION, **KEYS).client("events", endpoint_url=url, config=config)

    def publish(seconds: float) -> float:
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            client.put_events(Entries=batch)
            sent += count
        return sent / passed

    return publish


async def exchange(host: str, port: int, requests: bytes, seconds: float) -> float:
    """What the sink takes from raw sockets, IN_FLIGHT of them, in requests that are always the same bytes."""
    ends_at = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    talks = [(await loop.create_connection(lambda: _Talk(requests, ends_at), host, port))[1] for _ in range(IN_FLIGHT)]
    await asyncio.gather(*(talk.over for talk in talks))
    return BATCH * sum(talk.answered for talk in talks) / seconds


class _Talk(asyncio.Protocol):
    """Sends a request as soon as the one before is answered. Each answer is small, and comes in one piece."""

    def __init__(self, request: bytes, ends_at: float) -> None:
        self._request = request
        self._ends_at = ends_at
        self.answered = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, _data: bytes) -> None:
        self.answered += 1
        if time.perf_counter() < self._ends_at:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None) if error is None else self.over.set_exception(error)
