"""PutEvents: the forwarder's client, and what its users would use, from one process to a sink.

All send ten entries a request, 16 requests in flight, but for boto3, which has one.

What is between the forwarder and its own transport with requests prepared beforehand is told beside it: the detail is
escaped, for it travels as a string in JSON, and every byte is hashed for the signature. A ledger that kept details
escaped would save the first, once more for each attempt, and pay for it as it records.
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
from tests.benchmarks.publishers import BATCH, IN_FLIGHT, KEYS, REGION
from tests.benchmarks.sink import Sink, sink

GOALS = (1,)

OURS = "forwarder"
SDKS = ("aiobotocore", "JavaScript SDK")
PREPARED = "requests prepared"
CEILING = "the sink's ceiling"
PARTS = (OURS, PREPARED, "serialising", "signing", "understanding the answer")


def run(bench: Bench) -> None:
    modules, why_not = javascript.fetched(bench.folder)
    if modules is None:
        bench.note(f"without the JavaScript SDK: {why_not}")
    for kibibytes, wanted in ((1, 4), (8, 3)):
        detail = a_detail(kibibytes * 1024)
        with sink() as bus, ExitStack() as open_:
            contestants: dict[str, Turn] = {
                OURS: publishers.forwarder(bus.url, detail),
                PREPARED: publishers.prepared(bus.url, detail),
                "aiobotocore": publishers.aiobotocore(bus.url, detail),
                "boto3, ten a call": publishers.blocking(bus.url, detail),
                "boto3, one a call": publishers.blocking(bus.url, detail, count=1),
                CEILING: ceiling(bus, detail),
            }
            if modules is not None:
                work = {"url": bus.url, "region": REGION, "keys": list(KEYS.values()), "inFlight": IN_FLIGHT,
                        "entries": json.loads(json.dumps(publishers.entries(detail), default=str))}  # fmt: skip
                contestants["JavaScript SDK"] = open_.enter_context(javascript.javascript(modules, work))
            contestants |= publishers.parts(detail)
            held = bench.compare(f"PutEvents, {kibibytes} KB", "entries/s", contestants, pieces=2)
        bench.note("microseconds an entry: " + ", ".join(f"{part} {1e6 / held.median(part):.1f}" for part in PARTS))
        best = held.best(*SDKS)
        bench.goal(1, f"{kibibytes} KB, to {best}", held.ratio(OURS, best), at_least=wanted)
        bench.goal(1, f"{kibibytes} KB, to {PREPARED}", held.ratio(OURS, PREPARED), at_least=0.8)


def a_detail(size: int) -> bytes:
    """An event of about so many bytes: customers' orders, in as many blocks as it takes."""
    block = {"blockId": BLOCK_IDS[0], "data": customer_order("4711")}
    detail = {"version": "1", "executionId": "6daaa0cf1a3daa6c41b5-ef", "workflowId": "64f1a2", "status": "error"}
    room = size - len(msgspec.json.encode(detail))
    return msgspec.json.encode({**detail, "results": [block] * max(1, room // len(msgspec.json.encode(block)))})


def ceiling(bus: Sink, detail: bytes) -> Turn:
    """The sink on its own: a request made once, sent again and again."""
    where = urlsplit(bus.url)
    body = json.dumps({"Entries": publishers.entries(detail)}, default=str).encode()
    request = b"POST / HTTP/1.1\r\nHost: sink\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert body.count(b'"Detail":') == BATCH
    host, port = where.hostname or "", where.port or 0
    return lambda seconds: asyncio.run(publishers.exchange(host, port, request, seconds))
