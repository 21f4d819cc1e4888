"""Only a response to PutEvents settles entries: whatever fails before it leaves all of them pending.

Sources: bug reports in which EventBridge refuses an ARN of another region with 400 ValidationException (Terraform's AWS
provider 31444, AWS's resource-policy samples 10), and in which PutEvents refuses a bus name (AWS SDK for JavaScript
3714).
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forwarder.aws.answers import RequestRefused
from forwarder.ledger import Books
from forwarder.model import State
from tests.aws.doors import a_bus, events
from tests.delivery.sender import a_sender, delivered
from tests.fakes import bus_faults, sts
from tests.fakes.actions import Action, Answer, Raw
from tests.fakes.bus_faults import DIALECTS, Fault
from tests.fakes.eventbridge import BUS, CROSS_REGION, StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.loops import looped, until

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"
CODES = [
    "ValidationException",
    "SerializationException",
    "ResourceNotFoundException",
    "InvalidParameterValueException",
    "LimitExceededException",
    "ConcurrentModificationException",
    "OperationDisabledException",
    "UnknownOperationException",
    "RequestEntityTooLarge",
    "MalformedDetail",
    "InvalidArgument",
    "ExpiredTokenException",
    "AccessDeniedForSomethingNew",
    "413",
]


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        bridge.roles[ROLE] = None
        yield bridge


def answering(name: str, action: Action) -> Fault:
    return Fault(name, delivered=False, spoil=lambda _: action)


HTML = {"Content-Type": "text/html"}
BEFORE: list[tuple[str, Fault]] = [
    *(("DescribeEventBus", bus_faults.refused(400, code, "m")) for code in CODES),
    *(("DescribeEventBus", bus_faults.refused(status, "ValidationException")) for status in (403, 404, 409, 413, 422)),
    *(("DescribeEventBus", bus_faults.refused_in(dialect, 400, "ValidationException", CROSS_REGION))
      for dialect in DIALECTS),
    *(("DescribeEventBus", bus_faults.html(status, delivered=False)) for status in (200, 400, 403, 404, 407, 413, 502)),
    *(("DescribeEventBus", bus_faults.bare(status)) for status in (200, 400, 403, 404, 413, 500, 503)),
    ("DescribeEventBus", answering("200 []", Answer(200, {}, b"[]"))),
    ("DescribeEventBus", answering("not HTTP", Raw(b"hello\r\n\r\n"))),
    ("DescribeEventBus", bus_faults.throttled()),
    ("DescribeEventBus", bus_faults.internal_failure()),
    ("DescribeEventBus", bus_faults.reset_after(delivered=False)),
    ("DescribeEventBus", bus_faults.closed_after(delivered=False)),
    *(("STS", answering(f"STS {code}", sts.error(400, code, "m"))) for code in
      ("ValidationError", "ValidationException", "ResourceNotFoundException", "MalformedPolicyDocument", "Throttling",
       "RegionDisabledException", "InvalidIdentityToken", "PackedPolicyTooLarge", "SerializationException",
       "RequestEntityTooLarge", "413")),
    ("STS", answering("STS 403", sts.error(403, "AccessDenied", "m"))),
    ("STS", answering("STS 503", sts.error(503, "ServiceUnavailable", "m"))),
    ("STS", answering("STS 200 HTML", Answer(200, HTML, bus_faults.HTML))),
    ("STS", answering("STS 413 HTML", Answer(413, HTML, bus_faults.HTML))),
    ("STS", answering("STS 200 empty", Answer(200))),
    ("STS", answering("STS not HTTP", Raw(b"hello\r\n\r\n"))),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "fault"), BEFORE, ids=str)
@looped
async def test_error_before_put_events_settles_nothing(
    bridge: StrictEventBridge, tmp_path: Path, operation: str, fault: Fault
) -> None:
    bridge.always(lambda request: fault if operation_of(request) == operation else None)
    async with a_sender(bridge, tmp_path, role_arn=ROLE) as sender:
        await sender.owe("abc")
        running = asyncio.create_task(sender.delivery.run())
        await until(lambda: len([1 for served in bridge.served if served.operation == operation]) > 3)
        part = sender.health.parts["bus"]
        assert part.state in {State.FAILED, State.DEGRADED}
        assert part.why
        assert part.mend or part.state is State.DEGRADED or "throttles" in part.why or "fails" in part.why
        assert await sender.letters() == {}
        assert "PutEvents" not in {served.operation for served in bridge.served}
        bridge.clear()
        await until(lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.delivery.drain()
        assert await sender.ledger.audit() == Books(recorded=3, sent=3)
        assert sender.health.parts["bus"].state is State.HEALTHY


@looped
async def test_refused_check_names_reason_and_setting(bridge: StrictEventBridge, tmp_path: Path) -> None:
    fault = bus_faults.refused(400, "ValidationException", CROSS_REGION)
    bridge.next(fault, fault, operation="DescribeEventBus")
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abc")
        assert await sender.send() == Books(recorded=3, owed=3)
        part = sender.health.parts["bus"]
        assert (part.state, CROSS_REGION in part.why, "destination.verify" in part.mend) == (State.FAILED, True, True)


@looped
async def test_code_of_another_service_is_no_missing_bus(bridge: StrictEventBridge) -> None:
    fault = answering("gone", sts.error(404, "ResourceNotFoundException", "no such role"))
    bridge.next(fault, operation="STS")
    async with a_bus(bridge, role_arn=ROLE) as bus:
        with pytest.raises(Exception, match="AssumeRole") as raised:
            await bus.put(events())
    assert type(raised.value).__name__ == "DestinationRefused"


@looped
async def test_denied_role_is_not_a_denied_check(bridge: StrictEventBridge, tmp_path: Path) -> None:
    """The bus is still described, and found missing, once the role may be assumed."""
    bridge.buses.clear()
    del bridge.roles[ROLE]
    async with a_sender(bridge, tmp_path, role_arn=ROLE) as sender:
        await sender.owe("abc")
        assert await sender.send() == Books(recorded=3, owed=3)
        bridge.roles[ROLE] = None
        assert await sender.send() == Books(recorded=3, owed=3)
        assert "does not exist" in sender.health.parts["bus"].why
    assert bridge.dropped == []


ENVIRONMENT = [
    ("AWS_USE_FIPS_ENDPOINT", "true"),  # the SDK refuses it together with endpoint_url
    ("AWS_RETRY_MODE", "twice"),
    ("AWS_DEFAULTS_MODE", "fast"),
    ("AWS_SIGV4A_SIGNING_REGION_SET", ""),
    ("AWS_DATA_PATH", "/nonexistent"),
]


@pytest.mark.parametrize(("name", "value"), ENVIRONMENT)
@looped
async def test_environment_the_sdk_refuses_settles_nothing(
    bridge: StrictEventBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abc")
        async with asyncio.timeout(20):
            await sender.delivery.run(until_empty=True)
        books = await sender.ledger.audit()
        assert (books.dead, books.sent + books.owed) == (0, 3)
        if books.owed:
            part = sender.health.parts["bus"]
            assert (part.state, bool(part.why), bool(part.mend)) == (State.FAILED, True, True)
    monkeypatch.delenv(name)
    async with a_sender(bridge, tmp_path) as sender:
        assert (await sender.send()).sent == 3


@pytest.mark.parametrize(
    "destination", [{"role_arn": ROLE, "external_id": "x"}, {"role_arn": ROLE, "external_id": "é "}]
)
@looped
async def test_parameters_the_sdk_refuses_settle_nothing(
    bridge: StrictEventBridge, tmp_path: Path, destination: dict[str, Any]
) -> None:
    async with a_sender(bridge, tmp_path, **destination) as sender:
        await sender.owe("abc")
        bridge.roles[ROLE] = "another"
        assert await sender.send() == Books(recorded=3, owed=3)
        assert sender.health.parts["bus"].state is State.FAILED


@pytest.mark.parametrize("dialect", DIALECTS)
@looped
async def test_put_events_refusal_is_read_in_every_dialect(bridge: StrictEventBridge, dialect: str) -> None:
    bridge.next(bus_faults.refused_in(dialect, 400, "ValidationException", "Total size is over the limit"))
    async with a_bus(bridge) as bus:
        refused = await bus.put(events())
    assert isinstance(refused, RequestRefused)
    assert (refused.code, refused.of_an_entry) == ("ValidationException", True)
    assert "Total size" in refused.message


@looped
async def test_bus_deleted_and_made_again_gets_everything(bridge: StrictEventBridge, tmp_path: Path) -> None:
    def vanish(request: Request) -> None:
        if operation_of(request) == "PutEvents":
            bridge.buses.discard(BUS)

    bridge.always(vanish)
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abc")
        running = asyncio.create_task(sender.delivery.run())
        await until(lambda: sender.delivery.trouble is not None)
        bridge.clear()
        bridge.buses.add(BUS)
        await until(lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(delivered(bridge)) == ["a", "b", "c"]


@looped
async def test_unverified_bus_is_never_described_nor_in_doubt(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.denied.add("DescribeEventBus")
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a")
        await sender.send()
    bridge.served.clear()
    async with a_sender(bridge, tmp_path, verify=False) as sender:
        await sender.owe("bc")
        assert (await sender.send()).sent == 3
        assert await sender.ledger.buses_in_doubt() == []
    assert {served.operation for served in bridge.served} == {"PutEvents"}
