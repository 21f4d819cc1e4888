"""Each fault of the bus, seen through the SDK, means what the documentation says."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from forwarder.aws.answers import RequestRefused
from forwarder.errors import (
    BusMissing,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
)
from forwarder.model import Accepted, Outcome, Rejected, Retry, Unknown
from tests.aws.doors import a_bus, answer_to, delivered, events, raised_by, served
from tests.fakes import bus_faults
from tests.fakes.actions import Answer, Raw
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.loops import looped

pytestmark = pytest.mark.usefixtures("either_client")


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge


@looped
async def test_what_is_accepted_is_delivered_as_it_is(bridge: StrictEventBridge) -> None:
    answer = await answer_to(bridge)
    assert answer.outcomes == [Accepted(event.event_id) for event in bridge.delivered]
    assert (answer.stop, delivered(bridge)) == (None, "ab")
    entry = bridge.delivered[0].entry
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("alloy.embedded", "Failed", "failures")


@looped
async def test_the_bus_may_be_named_by_its_arn(bridge: StrictEventBridge) -> None:
    await answer_to(bridge, event_bus=bridge.bus_arn())
    assert delivered(bridge) == "ab"


@looped
async def test_an_answer_that_comes_slowly_but_comes_is_waited_for(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.slow(400), bus_faults.hang(0.5, delivered=True))
    for ids in ("ab", "c"):
        answer = await answer_to(bridge, ids)
        assert [type(outcome) for outcome in answer.outcomes] == [Accepted] * len(ids)
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
    ("code", "outcome", "stops"),
    [
        *((code, Rejected(code, "told"), False) for code in MALFORMED),
        *((code, Retry(code, "told"), False) for code in TRANSIENT),
        *((code, Retry(code, "told"), True) for code in REFUSED),
        ("BrandNewException", Retry("BrandNewException", "told", strike=True), False),
    ],
)
@looped
async def test_each_entry_has_an_outcome_of_its_own(
    bridge: StrictEventBridge, code: str, outcome: Outcome, stops: bool
) -> None:
    bridge.next(bus_faults.entry_codes({1: code}))
    answer = await answer_to(bridge, "abc")
    first, second, third = answer.outcomes
    assert (type(first), type(third), delivered(bridge)) == (Accepted, Accepted, "ac")
    assert type(second) is type(outcome)
    assert not isinstance(second, (Accepted, Unknown))
    assert second.code == code
    assert second.reason
    assert getattr(second, "strike", None) == getattr(outcome, "strike", None)
    assert (answer.stop is not None) == stops


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
        Fault(str(body), delivered=True, spoil=lambda _, body=body: Answer(200, {}, body))  # type: ignore[misc]
        for body in (b"[1]", b"null", b"{", b'{"Entries": "x"}', b'{"Entries": ["\xff"]}', b'{"Entries": [1, 2, 3]}')
    ),
    Fault("not HTTP", delivered=True, spoil=lambda _: Raw(b"hello\r\n\r\n")),
]  # fmt: skip


@pytest.mark.parametrize("fault", UNKNOWN_AFTER, ids=str)
@looped
async def test_an_answer_that_cannot_be_understood_is_unknown_for_every_entry(
    bridge: StrictEventBridge, fault: Fault
) -> None:
    bridge.next(fault)
    answer = await answer_to(bridge, "abc")
    assert [type(outcome) for outcome in answer.outcomes] == [Unknown] * 3
    assert delivered(bridge) == ("abc" if fault.delivered else "")
    assert all(
        isinstance(outcome, Unknown) and outcome.reason and bridge.url not in outcome.reason
        for outcome in answer.outcomes
    )


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
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
@looped
async def test_a_request_that_is_refused_was_accepted_by_nobody(
    bridge: StrictEventBridge, fault: Fault, kind: type[DestinationError], code: str
) -> None:
    bridge.next(fault)
    async with a_bus(bridge) as bus:
        error = await raised_by(kind, lambda: bus.put(events()))
        assert error.code == code
        assert error.message
        assert delivered(bridge) == ""
        await bus.put(events("c"))
    assert delivered(bridge) == "c"


@pytest.mark.parametrize(
    ("fault", "code", "of_an_entry"),
    [
        (bus_faults.too_large(), "413", True),
        (bus_faults.refused(400, "ValidationException", "Total size is too large"), "ValidationException", True),
        (bus_faults.refused(400, "ValidationException", "Cross-region"), "ValidationException", False),
        (bus_faults.refused(400, "SerializationException"), "SerializationException", True),
        (bus_faults.refused(400, "BrandNewException"), "BrandNewException", False),
    ],
    ids=str,
)
@looped
async def test_a_refused_request_is_a_value_and_settles_no_entry(
    bridge: StrictEventBridge, fault: Fault, code: str, of_an_entry: bool
) -> None:
    bridge.next(fault)
    async with a_bus(bridge) as bus:
        refused = await bus.put(events())
        assert isinstance(refused, RequestRefused)
        assert (refused.code, refused.of_an_entry, bool(refused.message)) == (code, of_an_entry, True)
        assert delivered(bridge) == ""
        await bus.put(events("c"))
    assert delivered(bridge) == "c"


@looped
async def test_a_bus_that_cannot_be_reached_accepted_nothing() -> None:
    with StrictEventBridge() as bridge:
        pass
    async with a_bus(bridge) as bus:
        assert (await raised_by(DestinationUnavailable, lambda: bus.put(events()))).code == "unreachable"


@pytest.mark.parametrize(
    "key",
    [Key(KEY.id, "planted-wrong"), Key("AKIAUNKNOWN0000001", KEY.secret), Key(KEY.id, KEY.secret, "planted-token")],
)
@looped
async def test_wrong_keys_are_refused_and_never_told(bridge: StrictEventBridge, key: Key) -> None:
    async with a_bus(bridge, key) as bus:
        error = await raised_by(DestinationRefused, lambda: bus.put(events()))
    assert error.hint
    assert not [secret for secret in (key.secret, key.token) if secret and secret in f"{error} {error!r}"]
    assert delivered(bridge) == ""


@pytest.mark.parametrize("minutes", [-6, 6])
@looped
async def test_a_clock_that_is_off_is_told(minutes: int) -> None:
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes)) as bridge:
        async with a_bus(bridge) as bus:
            assert "clock" in (await raised_by(DestinationRefused, lambda: bus.put(events()))).hint


@looped
async def test_the_sdk_itself_never_tries_twice(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.throttled(), bus_faults.reset_after(delivered=True), bus_faults.html(502, delivered=True))
    async with a_bus(bridge) as bus:
        for _ in range(2):
            await bus.look()
        await raised_by(DestinationUnavailable, lambda: bus.put(events()))
        for _ in range(2):
            await bus.put(events())
    assert served(bridge).count("PutEvents") == 3
