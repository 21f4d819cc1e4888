"""The outcomes and errors of the bus for each documented fault, through the client and the SDK."""

from datetime import timedelta

import pytest

from forwarder.aws.responses import RequestRefusal
from forwarder.errors import (
    BusMissing,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
)
from forwarder.model import Accepted, Outcome, Rejected, Retry, Unknown
from tests.aws.harness import delivered, events, open_bus, publish_ids, raised_by, served
from tests.fakes import bus_faults
from tests.fakes.actions import HttpResponse, Raw
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now

pytestmark = pytest.mark.usefixtures("either_client")


async def test_accepted_events_are_delivered_unchanged(bridge: StrictEventBridge) -> None:
    result = await publish_ids(bridge)
    assert result.outcomes == [Accepted(event.event_id) for event in bridge.delivered]
    assert (result.stop_error, delivered(bridge)) == (None, "ab")
    entry = bridge.delivered[0].entry
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("alloy.embedded", "Failed", "failures")


async def test_bus_named_by_its_arn_gets_events(bridge: StrictEventBridge) -> None:
    await publish_ids(bridge, event_bus=bridge.bus_arn())
    assert delivered(bridge) == "ab"


async def test_slow_response_is_awaited(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.slow(400), bus_faults.hang(0.5, delivered=True))
    for ids in ("ab", "c"):
        result = await publish_ids(bridge, ids)
        assert [type(outcome) for outcome in result.outcomes] == [Accepted] * len(ids)
    assert delivered(bridge) == "abc"


MALFORMED = ["MalformedDetail", "InvalidArgument", "RedactionFailure"]
TRANSIENT = ["ThrottlingException", "InternalFailure", "InternalException"]
REFUSED = [
    "AccessDeniedException",
    "InvalidAccountIdException",
    "NotAuthorizedForSourceException",
    "NotAuthorizedForDetailTypeException",
]


@pytest.mark.parametrize(
    ("code", "outcome", "has_stop_error"),
    [
        *((code, Rejected(code, "reason"), False) for code in MALFORMED),
        *((code, Retry(code, "reason"), False) for code in TRANSIENT),
        *((code, Retry(code, "reason"), True) for code in REFUSED),
        ("BrandNewException", Retry("BrandNewException", "reason", unclassified_attempt=True), False),
    ],
)
async def test_each_entry_has_its_own_outcome(
    bridge: StrictEventBridge, code: str, outcome: Outcome, has_stop_error: bool
) -> None:
    bridge.next(bus_faults.entry_codes({1: code}))
    result = await publish_ids(bridge, "abc")
    first, second, third = result.outcomes
    assert (type(first), type(third), delivered(bridge)) == (Accepted, Accepted, "ac")
    assert type(second) is type(outcome)
    assert not isinstance(second, (Accepted, Unknown))
    assert second.code == code
    assert second.reason
    assert getattr(second, "unclassified_attempt", None) == getattr(outcome, "unclassified_attempt", None)
    assert (result.stop_error is not None) == has_stop_error


UNKNOWN_AFTER = [
    *(fault(delivered=delivered) for delivered in (True, False) for fault in (
        bus_faults.html, bus_faults.empty, bus_faults.half_json, bus_faults.cut_off, bus_faults.too_few,
        bus_faults.too_many, bus_faults.both, bus_faults.neither, bus_faults.reset_after, bus_faults.closed_after,
    )),
    bus_faults.html(502, delivered=True),
    bus_faults.html(504, delivered=False),
    bus_faults.cut_off(delivered=True, reset=True),
    bus_faults.reset_before(),
    bus_faults.hang(60, delivered=True),
    bus_faults.slow(50),
    *(
        Fault(str(body), delivered=True, spoil=lambda _, body=body: HttpResponse(200, {}, body))  # type: ignore[misc]
        for body in (b"[1]", b"null", b"{", b'{"Entries": "x"}', b'{"Entries": ["\xff"]}', b'{"Entries": [1, 2, 3]}')
    ),
    Fault("not HTTP", delivered=True, spoil=lambda _: Raw(b"hello\r\n\r\n")),
]  # fmt: skip


@pytest.mark.parametrize("fault", UNKNOWN_AFTER, ids=str)
async def test_invalid_response_is_unknown_for_every_entry(bridge: StrictEventBridge, fault: Fault) -> None:
    bridge.next(fault)
    result = await publish_ids(bridge, "abc")
    assert [type(outcome) for outcome in result.outcomes] == [Unknown] * 3
    assert delivered(bridge) == ("abc" if fault.delivered else "")
    assert all(
        isinstance(outcome, Unknown) and outcome.reason and bridge.url not in outcome.reason
        for outcome in result.outcomes
    )


@pytest.mark.parametrize(
    ("fault", "exc_type", "code"),
    [
        (bus_faults.throttled(), DestinationUnavailable, "ThrottlingException"),
        (bus_faults.refused(429, "TooManyRequestsException"), DestinationUnavailable, "ThrottlingException"),
        (bus_faults.internal_failure(), DestinationUnavailable, "InternalFailure"),
        (bus_faults.refused(500, "InternalException"), DestinationUnavailable, "InternalException"),
        (bus_faults.unavailable(), DestinationUnavailable, "ServiceUnavailable"),
        (bus_faults.html(503, delivered=False), DestinationUnavailable, "InternalFailure"),
        (bus_faults.html(403, delivered=False), DestinationUnavailable, "not-aws"),
        (bus_faults.html(404, delivered=False), DestinationUnavailable, "not-aws"),
        (bus_faults.access_denied(), DestinationRefused, "AccessDeniedException"),
        *(
            (bus_faults.refused(400, code), DestinationRefused, code)
            for code in ("ExpiredTokenException", "UnrecognizedClientException", "IncompleteSignatureException",
                         "MissingAuthenticationTokenException", "InvalidSignatureException", "RequestExpired")
        ),
        (bus_faults.refused(403, "SomethingForbiddenException"), DestinationRefused, "SomethingForbiddenException"),
        (bus_faults.refused(400, "ResourceNotFoundException"), BusMissing, "ResourceNotFoundException"),
    ],
    ids=str,
)  # fmt: skip
async def test_refused_request_delivers_nothing(
    bridge: StrictEventBridge, fault: Fault, exc_type: type[DestinationError], code: str
) -> None:
    bridge.next(fault)
    async with open_bus(bridge) as bus:
        error = await raised_by(exc_type, lambda: bus.publish(events()))
        assert error.code == code
        assert error.message
        assert delivered(bridge) == ""
        await bus.publish(events("c"))
    assert delivered(bridge) == "c"


@pytest.mark.parametrize(
    ("fault", "code", "is_entry_specific"),
    [
        (bus_faults.too_large(), "413", True),
        (bus_faults.refused(400, "ValidationException", "Total size is too large"), "ValidationException", True),
        (bus_faults.refused(400, "ValidationException", "Cross-region"), "ValidationException", False),
        (bus_faults.refused(400, "SerializationException"), "SerializationException", True),
        (bus_faults.refused(400, "BrandNewException"), "BrandNewException", False),
    ],
    ids=str,
)
async def test_request_refusal_is_a_value_and_settles_nothing(
    bridge: StrictEventBridge, fault: Fault, code: str, is_entry_specific: bool
) -> None:
    bridge.next(fault)
    async with open_bus(bridge) as bus:
        refused = await bus.publish(events())
        assert isinstance(refused, RequestRefusal)
        assert (refused.code, refused.is_entry_specific, bool(refused.message)) == (code, is_entry_specific, True)
        assert delivered(bridge) == ""
        await bus.publish(events("c"))
    assert delivered(bridge) == "c"


async def test_unreachable_bus_accepts_nothing() -> None:
    with StrictEventBridge() as bridge:
        pass
    async with open_bus(bridge) as bus:
        assert (await raised_by(DestinationUnavailable, lambda: bus.publish(events()))).code == "unreachable"


@pytest.mark.parametrize(
    "key",
    [Key(KEY.id, "planted-wrong"), Key("AKIAUNKNOWN0000001", KEY.secret), Key(KEY.id, KEY.secret, "planted-token")],
)
async def test_wrong_keys_are_refused_and_never_printed(bridge: StrictEventBridge, key: Key) -> None:
    async with open_bus(bridge, key) as bus:
        error = await raised_by(DestinationRefused, lambda: bus.publish(events()))
    assert error.hint
    assert not [secret for secret in (key.secret, key.token) if secret and secret in f"{error} {error!r}"]
    assert delivered(bridge) == ""


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_wrong_clock_is_named_in_the_hint(minutes: int) -> None:
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes)) as bridge:
        async with open_bus(bridge) as bus:
            assert "clock" in (await raised_by(DestinationRefused, lambda: bus.publish(events()))).hint


async def test_sdk_never_retries(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.throttled(), bus_faults.reset_after(delivered=True), bus_faults.html(502, delivered=True))
    async with open_bus(bridge) as bus:
        for _ in range(2):
            await bus.verify()
        await raised_by(DestinationUnavailable, lambda: bus.publish(events()))
        for _ in range(2):
            await bus.publish(events())
    assert served(bridge).count("PutEvents") == 3
