"""The publishing contestants: a turn takes so many seconds, and returns the entries per second.

The sink accepts any keys, region and signature.
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

CONCURRENCY = 16
BATCH = 10
BUS = "bench"
REGION = "eu-central-1"
SOURCE = "alloy.embedded"
DETAIL_TYPE = "Workflow Execution Failed"
KEYS = {"aws_access_key_id": "AKIAPLANTED000000001", "aws_secret_access_key": "planted/secret+key/0001"}


def entries(detail: bytes, count: int = BATCH) -> list[dict[str, Any]]:
    """Return entries in the form that an SDK accepts."""
    one = {
        "Time": SystemClock().now(),
        "Source": SOURCE,
        "DetailType": DETAIL_TYPE,
        "Detail": detail.decode(),
        "EventBusName": BUS,
    }
    return [dict(one) for _ in range(count)]


async def rate_of(send: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """Return the entries per second of requests of ten, with IN_FLIGHT of them always in flight."""
    began = time.perf_counter()
    sent = 0

    async def keep_sending() -> None:
        nonlocal sent
        while time.perf_counter() - began < seconds:
            await send()
            sent += BATCH

    await asyncio.gather(*(keep_sending() for _ in range(CONCURRENCY)))
    return sent / (time.perf_counter() - began)


def forwarder(url: str, detail: bytes) -> Turn:
    """Publish with the forwarder's bus, as its delivery does."""
    destination = {"event_bus": BUS, "region": REGION, "endpoint_url": url, "concurrency": CONCURRENCY}
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
    """Publish with the forwarder's transport, and one request that is serialised and signed beforehand."""
    body = msgspec.json.encode({"Entries": [{**entry, "Time": 0} for entry in entries(detail)]})
    headers = Signer(url, REGION).headers(ReadOnlyCredentials(*KEYS.values(), None, None), body, int(time.time()))

    async def publish(seconds: float) -> float:
        async with PutEventsClient(url, REGION, seconds=10, connections=CONCURRENCY) as client:
            await client.send(body, headers)
            return await rate_of(lambda: client.send(body, headers), seconds)

    return lambda seconds: asyncio.run(publish(seconds))


def parts(detail: bytes) -> dict[str, Turn]:
    """Return the parts of the work for a request except sending it, to be measured separately."""
    batch = [{**entry, "Time": 0} for entry in entries(detail)]
    texts = [entry.pop("Detail").encode() for entry in batch]
    body = msgspec.json.encode({"Entries": [{**entry, "Detail": detail.decode()} for entry in batch]})
    keys, signer = ReadOnlyCredentials(*KEYS.values(), None, None), Signer("http://127.0.0.1", REGION)
    answer = msgspec.json.encode({"FailedEntryCount": 0, "Entries": [{"EventId": EVENT_ID.format(0)}] * BATCH})

    def serialise() -> object:
        return to_json({"Entries": [{**entry, "Detail": text} for entry, text in zip(batch, texts, strict=True)]})

    def read_response() -> object:
        body = msgspec.json.decode(answer)
        return is_valid_response(body, BATCH) and [entry_outcome(entry) for entry in body["Entries"]]

    return {
        "serialising": _measure(serialise),
        "signing": _measure(lambda: signer.headers(keys, body, 0)),
        "reading the response": _measure(read_response),
    }


def _measure(work: Callable[[], object]) -> Turn:
    def entries_of(seconds: float) -> float:
        began, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds / 5:
            work()
            done += BATCH
        return done / passed

    return entries_of


def aiobotocore(url: str, detail: bytes) -> Turn:
    batch = entries(detail)
    config = AioConfig(max_pool_connections=CONCURRENCY, retries={"total_max_attempts": 1, "mode": "standard"})

    async def publish(seconds: float) -> float:
        async with AioSession().create_client(
            "events", region_name=REGION, endpoint_url=url, config=config, **KEYS
        ) as client:
            await client.put_events(Entries=batch)
            return await rate_of(lambda: client.put_events(Entries=batch), seconds)

    return lambda seconds: asyncio.run(publish(seconds))


def blocking(url: str, detail: bytes, count: int = BATCH) -> Turn:
    """Publish with boto3, in sequential calls of so many entries."""
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
    """Return the rate of the sink with IN_FLIGHT raw connections and always the same request."""
    ends_at = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _RawConnection(requests, ends_at), host, port))[1]
        for _ in range(CONCURRENCY)
    ]
    await asyncio.gather(*(connection.closed for connection in connections))
    return BATCH * sum(connection.answered for connection in connections) / seconds


class _RawConnection(asyncio.Protocol):
    """A connection that sends a request after each response. A response is small, and arrives in one piece."""

    def __init__(self, request: bytes, ends_at: float) -> None:
        self._request = request
        self._ends_at = ends_at
        self.answered = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

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
        if not self.closed.done():
            self.closed.set_result(None) if error is None else self.closed.set_exception(error)
