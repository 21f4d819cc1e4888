"""No response of AWS or of another server in its place takes unbounded memory or time."""

import functools
import gzip
import tracemalloc
from collections.abc import Iterator
from io import BytesIO

import pytest

from forwarder.aws.eventbridge import PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.errors import DestinationError
from forwarder.model import Accepted, Unknown
from tests.aws.harness import events, open_bus
from tests.fakes.actions import Action, Endless, HttpResponse
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"
MAX_GROWTH_BYTES = 24_000_000
"""Far less than any of the bodies below. It includes the memory of the test's server."""

UNPACKED_BYTES = 300_000_000


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        bridge.roles[ROLE] = None
        yield bridge


@functools.cache
def bomb() -> HttpResponse:
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(b'{"FailedEntryCount": 0, "Entries": [{"EventId": "')
        for _ in range(UNPACKED_BYTES // 1_000_000):
            file.write(b"e" * 1_000_000)
        file.write(b'"}]}')
    return HttpResponse(200, {"Content-Encoding": "gzip"}, packed.getvalue())


OK = b"HTTP/1.1 200 OK\r\n"
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
UNBOUNDED: dict[str, Action | None] = {
    "gzip bomb": None,  # it is packed when it is used: each worker collects the tests
    "large": Endless(OK + b"Content-Length: 4000000000\r\n\r\n", b" " * 65_536),
    "large refusal": Endless(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4000000000\r\n\r\n", b" " * 65_536),
    "compressed refusal": HttpResponse(400, {"Content-Encoding": "gzip"}, b"\x1f\x8b" * 1000),
    "endless until closed": Endless(OK + b"\r\n", b" " * 65_536),
    "endless in chunks": Endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "endless refusal": Endless(b"HTTP/1.1 400 Bad Request\r\n\r\n", b" " * 65_536),
    "endless header": Endless(OK + b"x: ", b"y" * 65_536),
    "endless headers": Endless(OK, b"x: y\r\n" * 1000),
    "endless chunk extension": Endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
    "endless trailers": Endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 1000),
    "endless status line": Endless(b"HTTP/1.1 200 ", b"O" * 65_536),
    "endless interim": Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}


async def refusal_of(bus: VerifiedBus) -> DestinationError | RequestRefusal | None:
    """Return the refusal of two events, or None if both are Unknown."""
    try:
        answer = await bus.publish(events())
    except DestinationError as error:
        return error
    if isinstance(answer, RequestRefusal):
        return answer
    assert [type(outcome) for outcome in answer.outcomes] == [Unknown] * 2
    return None


def is_short(operation: str, number: int, name: str) -> bool:
    """Return whether a response is in `make test`. All of them are in `make test-all`."""
    if operation == "PutEvents":
        return name != "endless chunk extension"  # it ends at the time-out only, and uses a core until then
    return operation == "STS" and number % 5 == 0


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        pytest.param(
            operation,
            name,
            marks=() if is_short(operation, number, name) else pytest.mark.long,
        )
        for operation in ("PutEvents", "STS", "DescribeEventBus")
        for number, name in enumerate(UNBOUNDED)
    ],
)
async def test_response_of_any_size_takes_bounded_memory(bridge: StrictEventBridge, name: str, operation: str) -> None:
    action = UNBOUNDED[name] or bomb()
    bridge.next(Fault(name, delivered=False, spoil=lambda _: action), operation=operation)
    async with open_bus(bridge, role_arn=ROLE) as bus:
        if operation == "PutEvents":
            await bus.verify()
        tracemalloc.start()
        meaning = await refusal_of(bus)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        is_refusal = isinstance(meaning, (DestinationError, RequestRefusal))
        assert is_refusal == (operation != "PutEvents" or "refusal" in name)
        assert peak < MAX_GROWTH_BYTES
        answer = await bus.publish(events("c"))
        assert isinstance(answer, PublishResult)
        assert [type(outcome) for outcome in answer.outcomes] == [Accepted]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "compress", "x-gzip", "GZIP", "gzip, gzip"])
async def test_compression_that_was_not_requested_is_unknown(bridge: StrictEventBridge, encoding: str) -> None:
    packed = gzip.compress(b'{"FailedEntryCount": 0, "Entries": [{"EventId": "e"}, {"EventId": "f"}]}')
    answer = HttpResponse(200, {"Content-Encoding": encoding}, packed)
    bridge.next(Fault(encoding, delivered=False, spoil=lambda _: answer))
    async with open_bus(bridge) as bus:
        response = await bus.publish(events())
        assert isinstance(response, PublishResult)
        assert [type(outcome) for outcome in response.outcomes] == [Unknown] * 2


async def test_declared_identity_encoding_is_read(bridge: StrictEventBridge) -> None:
    def named(answer: HttpResponse) -> Action:
        return HttpResponse(answer.status, {**answer.headers, "Content-Encoding": "identity"}, answer.body)

    bridge.next(Fault("identity", delivered=True, spoil=named))
    async with open_bus(bridge) as bus:
        response = await bus.publish(events())
        assert isinstance(response, PublishResult)
        assert [type(outcome) for outcome in response.outcomes] == [Accepted] * 2
