"""PutEvents: the forwarder's client and its alternatives, from one process to a sink.

All send ten entries a request with 16 requests in flight, except boto3, which has one.

The report also has the forwarder's transport with prepared requests. The difference is the work for each request: the
detail is escaped as a JSON string, and every byte is hashed for the signature. A ledger of escaped details would save
the escaping for each attempt, and do it for each recorded entry instead.
"""

import asyncio
import json
from contextlib import ExitStack
from urllib.parse import urlsplit

import msgspec

from forwarder.demo.sample_data import BLOCK_IDS, customer_order
from tests.benchmarks import javascript, publishers
from tests.benchmarks.bench import Bench
from tests.benchmarks.comparison import Turn
from tests.benchmarks.publishers import BATCH, CONCURRENCY, KEYS, REGION
from tests.benchmarks.sink import Sink, start_sink

GOALS = (1,)

OURS = "forwarder"
SDKS = ("aiobotocore", "JavaScript SDK")
PREPARED = "requests prepared"
CEILING = "the sink's ceiling"
PARTS = (OURS, PREPARED, "serialising", "signing", "reading the response")


def run(bench: Bench) -> None:
    modules, why_not = javascript.install(bench.folder)
    if modules is None:
        bench.note(f"the JavaScript SDK is not measured: {why_not}")
    for kibibytes, min_ratio in ((1, 4), (8, 3)):
        detail = sample_detail(kibibytes * 1024)
        with start_sink() as bus, ExitStack() as open_:
            contestants: dict[str, Turn] = {
                OURS: publishers.forwarder(bus.url, detail),
                PREPARED: publishers.prepared(bus.url, detail),
                "aiobotocore": publishers.aiobotocore(bus.url, detail),
                "boto3, ten a call": publishers.blocking(bus.url, detail),
                "boto3, one a call": publishers.blocking(bus.url, detail, count=1),
                CEILING: ceiling(bus, detail),
            }
            if modules is not None:
                work = {"url": bus.url, "region": REGION, "keys": list(KEYS.values()), "inFlight": CONCURRENCY,
                        "entries": json.loads(json.dumps(publishers.entries(detail), default=str))}  # fmt: skip
                contestants["JavaScript SDK"] = open_.enter_context(javascript.start(modules, work))
            contestants |= publishers.parts(detail)
            result = bench.compare(f"PutEvents, {kibibytes} KB", "entries/s", contestants, pieces=2)
        bench.note("microseconds an entry: " + ", ".join(f"{part} {1e6 / result.median(part):.1f}" for part in PARTS))
        best = result.best(*SDKS)
        bench.goal(1, f"{kibibytes} KB, to {best}", result.ratio(OURS, best), at_least=min_ratio)
        bench.goal(1, f"{kibibytes} KB, to {PREPARED}", result.ratio(OURS, PREPARED), at_least=0.8)


def sample_detail(size: int) -> bytes:
    """Return an event of about so many bytes, with a customer's order in each block."""
    block = {"blockId": BLOCK_IDS[0], "data": customer_order("4711")}
    detail = {"version": "1", "executionId": "6daaa0cf1a3daa6c41b5-ef", "workflowId": "64f1a2", "status": "error"}
    room = size - len(msgspec.json.encode(detail))
    return msgspec.json.encode({**detail, "results": [block] * max(1, room // len(msgspec.json.encode(block)))})


def ceiling(bus: Sink, detail: bytes) -> Turn:
    """Measure the sink alone, with one prepared request that is sent repeatedly."""
    where = urlsplit(bus.url)
    body = json.dumps({"Entries": publishers.entries(detail)}, default=str).encode()
    request = b"POST / HTTP/1.1\r\nHost: sink\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert body.count(b'"Detail":') == BATCH
    host, port = where.hostname or "", where.port or 0
    return lambda seconds: asyncio.run(publishers.exchange(host, port, request, seconds))
