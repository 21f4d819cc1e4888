"""The strict EventBridge produces each fault for botocore.

The delivery's classification depends on the table in `test_lost_response_is_an_error_of_its_cause`.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import aiohttp
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from tests.fakes import bus_faults
from tests.fakes.actions import HttpResponse, Raw
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.sdk_clients import READ_SECONDS, a_client, code_of, delivered, entry, put

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (bus_faults.throttled(), "ThrottlingException"),
        (bus_faults.access_denied(), "AccessDeniedException"),
        (bus_faults.internal_failure(), "InternalFailure"),
        (bus_faults.unavailable(), "ServiceUnavailable"),
        (bus_faults.too_large(), "413"),
        (bus_faults.html(502, delivered=False), "502"),
        (bus_faults.html(504, delivered=False), "504"),
    ],
    ids=str,
)
def test_refused_request_is_a_client_error_with_its_code(bridge: StrictEventBridge, fault: Fault, code: str) -> None:
    bridge.next(fault)
    assert code_of(put, bridge) == code
    assert delivered(bridge) == ""


def test_refused_entries_leave_the_others_delivered(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.entry_codes({0: "ThrottlingException", 2: "BrandNewException"}))
    answer = put(bridge, *"abc")
    assert [result.get("ErrorCode") for result in answer["Entries"]] == [
        "ThrottlingException",
        None,
        "BrandNewException",
    ]
    assert (answer["FailedEntryCount"], delivered(bridge)) == (2, "b")


@pytest.mark.parametrize(
    ("fault", "entries"),
    [
        (bus_faults.html(delivered=True), None),
        (bus_faults.empty(delivered=True), None),
        (bus_faults.half_json(delivered=True), None),
        (bus_faults.too_few(delivered=True), [["EventId"]]),
        (bus_faults.too_many(delivered=True), [["EventId"], ["EventId"], ["EventId"]]),
        (bus_faults.both(delivered=True), [["ErrorCode", "ErrorMessage", "EventId"], ["EventId"]]),
        (bus_faults.neither(1, delivered=True), [["EventId"], []]),
    ],
    ids=str,
)
def test_inconsistent_response_is_no_exception(
    bridge: StrictEventBridge, fault: Fault, entries: list[list[str]] | None
) -> None:
    bridge.next(fault)
    answer = put(bridge)
    assert (answer.get("Entries") and [sorted(result) for result in answer["Entries"]]) == entries
    assert delivered(bridge) == "ab"


def odd(name: str, action: HttpResponse | Raw) -> Fault:
    return Fault(name, delivered=True, spoil=lambda _: action)


LOST_REPLIES: list[tuple[Fault, type[Exception], type[Exception]]] = [
    (bus_faults.reset_before(), EndpointConnectionError, aiohttp.ClientOSError),
    (bus_faults.reset_after(delivered=True), EndpointConnectionError, aiohttp.ClientOSError),
    (bus_faults.closed_after(delivered=True), ConnectionClosedError, aiohttp.ServerDisconnectedError),
    (bus_faults.cut_off(delivered=True), ConnectionClosedError, aiohttp.ClientPayloadError),
    (bus_faults.cut_off(delivered=True, reset=True), ConnectionClosedError, aiohttp.ClientPayloadError),
    (bus_faults.hang(60, delivered=True), ReadTimeoutError, aiohttp.SocketTimeoutError),
    (bus_faults.hang(60, delivered=False), ReadTimeoutError, aiohttp.SocketTimeoutError),
    (odd("not HTTP", Raw(b"hello\r\n\r\n")), HTTPClientError, aiohttp.ClientResponseError),
]


@pytest.mark.parametrize(("fault", "error", "cause"), LOST_REPLIES, ids=[str(row[0]) for row in LOST_REPLIES])
def test_lost_response_is_an_error_of_its_cause(
    bridge: StrictEventBridge, fault: Fault, error: type[Exception], cause: type[Exception]
) -> None:
    bridge.next(fault)
    with pytest.raises(BotoCoreError) as raised:
        put(bridge, read_seconds=1.0 if error is ReadTimeoutError else READ_SECONDS)
    assert (type(raised.value), type(raised.value.kwargs["error"])) == (error, cause)
    assert delivered(bridge) == ("ab" if fault.delivered else "")


def test_refused_connection_differs_by_its_cause_only(bridge: StrictEventBridge) -> None:
    bridge.__exit__()
    with pytest.raises(EndpointConnectionError) as raised:
        put(bridge)
    assert isinstance(raised.value.kwargs["error"], aiohttp.ClientConnectorError)
    bridge.__enter__()


@pytest.mark.parametrize("body", [b"[1]", b"null", b'{"Entries": "x"}', b'{"Entries": ["\xff"]}'])
def test_json_of_another_shape_is_an_error_inside_botocore(bridge: StrictEventBridge, body: bytes) -> None:
    bridge.next(odd("odd", HttpResponse(200, {}, body)))
    with pytest.raises((AttributeError, UnicodeDecodeError)):
        put(bridge)
    assert delivered(bridge) == "ab"


def test_redirect_that_keeps_the_method_repeats_the_events(bridge: StrictEventBridge) -> None:
    bridge.next(odd("307", HttpResponse(307, {"Location": "/"})))
    assert put(bridge)["FailedEntryCount"] == 0
    assert delivered(bridge) == "abab"


def test_slow_response_does_not_reach_the_read_timeout(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.slow(100))
    assert put(bridge, read_seconds=1.5)["FailedEntryCount"] == 0


def test_fault_applies_to_its_operation_only(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.throttled(), operation="DescribeEventBus")
    bridge.next(bus_faults.html(502, delivered=False), operation="STS")
    assert put(bridge)["FailedEntryCount"] == 0
    assert code_of(a_client(bridge).describe_event_bus) == "ThrottlingException"
    assert code_of(a_client(bridge, "sts").get_caller_identity) == "502"


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - to be repeatable is the point


def test_chaos_depends_on_its_seed_only() -> None:
    def run(seed: int) -> list[str]:
        with StrictEventBridge() as bridge:
            bridge.chaos(seeded(seed), {"throttled": 0.3, "too few": 0.2, "transient entries": 0.3})
            client = a_client(bridge)
            for _ in range(20):
                try:
                    client.put_events(Entries=[entry("a"), entry("b")])
                except ClientError:
                    continue
            return [f"{served.fault}: {served.delivered}" for served in bridge.served]

    assert run(7) == run(7) != run(8)


@pytest.mark.parametrize("name", bus_faults.CHAOS)
def test_each_chaos_fault_can_be_drawn(name: str) -> None:
    assert isinstance(bus_faults.CHAOS[name](seeded(1)), Fault)
