"""Only a response to PutEvents settles entries: any earlier failure leaves all of them pending.

Sources: bug reports in which EventBridge refuses an ARN of another region with 400 ValidationException (Terraform's AWS
provider 31444, AWS's resource-policy samples 10), and in which PutEvents refuses a bus name (AWS SDK for JavaScript
3714).
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forwarder.aws.responses import RequestRefusal
from forwarder.ledger import Counters
from forwarder.model import State
from tests.aws.harness import events, open_bus
from tests.delivery.harness import delivered, delivery_harness
from tests.fakes import bus_faults, sts
from tests.fakes.actions import Action, HttpResponse, Raw
from tests.fakes.bus_faults import DIALECTS, Fault
from tests.fakes.eventbridge import BUS, CROSS_REGION, StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.waiting import until

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


def responding(name: str, action: Action) -> Fault:
    return Fault(name, delivered=False, spoil=lambda _: action)


HTML = {"Content-Type": "text/html"}
FAULTS_BEFORE_PUT_EVENTS: list[tuple[str, Fault]] = [
    *(("DescribeEventBus", bus_faults.refused(400, code, "m")) for code in CODES),
    *(("DescribeEventBus", bus_faults.refused(status, "ValidationException")) for status in (403, 404, 409, 413, 422)),
    *(("DescribeEventBus", bus_faults.refused_in(dialect, 400, "ValidationException", CROSS_REGION))
      for dialect in DIALECTS),
    *(("DescribeEventBus", bus_faults.html(status, delivered=False)) for status in (200, 400, 403, 404, 407, 413, 502)),
    *(("DescribeEventBus", bus_faults.bare(status)) for status in (200, 400, 403, 404, 413, 500, 503)),
    ("DescribeEventBus", responding("200 []", HttpResponse(200, {}, b"[]"))),
    ("DescribeEventBus", responding("not HTTP", Raw(b"hello\r\n\r\n"))),
    ("DescribeEventBus", bus_faults.throttled()),
    ("DescribeEventBus", bus_faults.internal_failure()),
    ("DescribeEventBus", bus_faults.reset_after(delivered=False)),
    ("DescribeEventBus", bus_faults.closed_after(delivered=False)),
    *(("STS", responding(f"STS {code}", sts.error(400, code, "m"))) for code in
      ("ValidationError", "ValidationException", "ResourceNotFoundException", "MalformedPolicyDocument", "Throttling",
       "RegionDisabledException", "InvalidIdentityToken", "PackedPolicyTooLarge", "SerializationException",
       "RequestEntityTooLarge", "413")),
    ("STS", responding("STS 403", sts.error(403, "AccessDenied", "m"))),
    ("STS", responding("STS 503", sts.error(503, "ServiceUnavailable", "m"))),
    ("STS", responding("STS 200 HTML", HttpResponse(200, HTML, bus_faults.HTML))),
    ("STS", responding("STS 413 HTML", HttpResponse(413, HTML, bus_faults.HTML))),
    ("STS", responding("STS 200 empty", HttpResponse(200))),
    ("STS", responding("STS not HTTP", Raw(b"hello\r\n\r\n"))),
]  # fmt: skip


# One fault in eight of each operation runs in `make test`, and all of them in `make test-all`.
@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        pytest.param(*pair, marks=pytest.mark.long if number % 8 else ())
        for number, pair in enumerate(FAULTS_BEFORE_PUT_EVENTS)
    ],
    ids=str,
)
async def test_error_before_put_events_settles_nothing(
    bridge: StrictEventBridge, tmp_path: Path, operation: str, fault: Fault
) -> None:
    bridge.always(lambda request: fault if operation_of(request) == operation else None)
    async with delivery_harness(bridge, tmp_path, role_arn=ROLE) as harness:
        await harness.record("abc")
        running = asyncio.create_task(harness.delivery.run())
        await until(lambda: len([1 for served in bridge.served if served.operation == operation]) > 3)
        component = harness.health.components["bus"]
        assert component.state in {State.FAILED, State.DEGRADED}
        assert component.reason
        assert (
            component.hint
            or component.state is State.DEGRADED
            or "throttles" in component.reason
            or "fails" in component.reason
        )
        assert await harness.dead_letters() == {}
        assert "PutEvents" not in {served.operation for served in bridge.served}
        bridge.clear()
        await until(lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await harness.delivery.drain()
        assert await harness.ledger.audit() == Counters(recorded=3, sent=3)
        assert harness.health.components["bus"].state is State.HEALTHY


async def test_refused_check_names_reason_and_setting(bridge: StrictEventBridge, tmp_path: Path) -> None:
    fault = bus_faults.refused(400, "ValidationException", CROSS_REGION)
    bridge.next(fault, fault, operation="DescribeEventBus")
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        assert await harness.send() == Counters(recorded=3, pending=3)
        component = harness.health.components["bus"]
        assert (component.state, CROSS_REGION in component.reason, "destination.verify" in component.hint) == (
            State.FAILED,
            True,
            True,
        )


async def test_code_of_another_service_is_no_missing_bus(bridge: StrictEventBridge) -> None:
    fault = responding("gone", sts.error(404, "ResourceNotFoundException", "no such role"))
    bridge.next(fault, operation="STS")
    async with open_bus(bridge, role_arn=ROLE) as bus:
        with pytest.raises(Exception, match="AssumeRole") as raised:
            await bus.publish(events())
    assert type(raised.value).__name__ == "DestinationRefused"


async def test_denied_role_is_not_a_denied_check(bridge: StrictEventBridge, tmp_path: Path) -> None:
    """After the role may be assumed again, the bus is described and found missing."""
    bridge.buses.clear()
    del bridge.roles[ROLE]
    async with delivery_harness(bridge, tmp_path, role_arn=ROLE) as harness:
        await harness.record("abc")
        assert await harness.send() == Counters(recorded=3, pending=3)
        bridge.roles[ROLE] = None
        assert await harness.send() == Counters(recorded=3, pending=3)
        assert "does not exist" in harness.health.components["bus"].reason
    assert bridge.dropped == []


ENVIRONMENT = [
    ("AWS_USE_FIPS_ENDPOINT", "true"),  # the SDK refuses it together with endpoint_url
    ("AWS_RETRY_MODE", "twice"),
    ("AWS_DEFAULTS_MODE", "fast"),
    ("AWS_SIGV4A_SIGNING_REGION_SET", ""),
    ("AWS_DATA_PATH", "/nonexistent"),
]


@pytest.mark.parametrize(("name", "value"), ENVIRONMENT)
async def test_environment_the_sdk_refuses_settles_nothing(
    bridge: StrictEventBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        async with asyncio.timeout(20):
            await harness.delivery.run(until_empty=True)
        counters = await harness.ledger.audit()
        assert (counters.dead, counters.sent + counters.pending) == (0, 3)
        if counters.pending:
            component = harness.health.components["bus"]
            assert (component.state, bool(component.reason), bool(component.hint)) == (State.FAILED, True, True)
    monkeypatch.delenv(name)
    async with delivery_harness(bridge, tmp_path) as harness:
        assert (await harness.send()).sent == 3


@pytest.mark.parametrize(
    "destination", [{"role_arn": ROLE, "external_id": "x"}, {"role_arn": ROLE, "external_id": "é "}]
)
async def test_parameters_the_sdk_refuses_settle_nothing(
    bridge: StrictEventBridge, tmp_path: Path, destination: dict[str, Any]
) -> None:
    async with delivery_harness(bridge, tmp_path, **destination) as harness:
        await harness.record("abc")
        bridge.roles[ROLE] = "another"
        assert await harness.send() == Counters(recorded=3, pending=3)
        assert harness.health.components["bus"].state is State.FAILED


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_put_events_refusal_is_read_in_every_dialect(bridge: StrictEventBridge, dialect: str) -> None:
    bridge.next(bus_faults.refused_in(dialect, 400, "ValidationException", "Total size is over the limit"))
    async with open_bus(bridge) as bus:
        refused = await bus.publish(events())
    assert isinstance(refused, RequestRefusal)
    assert (refused.code, refused.is_entry_specific) == ("ValidationException", True)
    assert "Total size" in refused.message


async def test_bus_deleted_and_created_again_gets_everything(bridge: StrictEventBridge, tmp_path: Path) -> None:
    def vanish(request: Request) -> None:
        if operation_of(request) == "PutEvents":
            bridge.buses.discard(BUS)

    bridge.always(vanish)
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        running = asyncio.create_task(harness.delivery.run())
        await until(lambda: harness.delivery.current_error is not None)
        bridge.clear()
        bridge.buses.add(BUS)
        await until(lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(delivered(bridge)) == ["a", "b", "c"]


async def test_bus_without_verification_is_never_described(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.denied.add("DescribeEventBus")
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        await harness.send()
    bridge.served.clear()
    async with delivery_harness(bridge, tmp_path, verify=False) as harness:
        await harness.record("bc")
        assert (await harness.send()).sent == 3
        assert await harness.ledger.unverified_buses() == []
    assert {served.operation for served in bridge.served} == {"PutEvents"}
