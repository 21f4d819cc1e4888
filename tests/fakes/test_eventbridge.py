"""The strict EventBridge takes what botocore signs, refuses what AWS refuses, and shows botocore each fault.

The delivery's classification rests on the table in `test_what_a_lost_reply_becomes`.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from tests.fakes import bus_faults
from tests.fakes.actions import Answer, Raw
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLE = "arn:aws:iam::123456789012:role/publisher"


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge


def entry(execution_id: str, bus: str = BUS) -> dict[str, Any]:
    return {
        "Time": utc_now(),
        "Source": "alloy.embedded",
        "DetailType": "Workflow Execution Failed",
        "Detail": json.dumps({"executionId": execution_id}),
        "EventBusName": bus,
    }


def a_client(bridge: StrictEventBridge, service: str = "events", key: Key = KEY) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=bridge.url,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=0.3),
    )


def put(bridge: StrictEventBridge, *ids: str, key: Key = KEY) -> dict[str, Any]:
    """Through aiobotocore, as the daemon does it."""
    config = AioConfig(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=0.3)

    async def publish() -> dict[str, Any]:
        async with get_session().create_client(
            "events",
            region_name=REGION,
            endpoint_url=bridge.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.token,
            config=config,
        ) as client:
            return dict(await client.put_events(Entries=[entry(execution_id) for execution_id in ids or "ab"]))

    return asyncio.run(publish())


def delivered(bridge: StrictEventBridge) -> str:
    return "".join(event.detail["executionId"] for event in bridge.delivered)


def code_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(*args, **kwargs)
    return str(raised.value.response["Error"]["Code"])


def test_a_correct_request_is_delivered(bridge: StrictEventBridge) -> None:
    answer = put(bridge)
    assert [result["EventId"] for result in answer["Entries"]] == [e.event_id for e in bridge.delivered]
    assert (answer["FailedEntryCount"], delivered(bridge), bridge.max_in_flight) == (0, "ab", 1)


def test_boto3_signs_as_well(bridge: StrictEventBridge) -> None:
    assert a_client(bridge).put_events(Entries=[entry("é🫖")])["FailedEntryCount"] == 0
    assert delivered(bridge) == "é🫖"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (Key(KEY.id, "wrong"), "InvalidSignatureException"),
        (Key("AKIAUNKNOWN", KEY.secret), "UnrecognizedClientException"),
        (Key(KEY.id, KEY.secret, "token"), "UnrecognizedClientException"),
    ],
)
def test_wrong_keys_are_refused(bridge: StrictEventBridge, key: Key, code: str) -> None:
    assert code_of(put, bridge, key=key) == code
    assert delivered(bridge) == ""


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_off_by_more_than_five_minutes_is_refused(minutes: int) -> None:
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes)) as bridge:
        assert code_of(put, bridge) == "InvalidSignatureException"
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes / 2)) as bridge:
        assert put(bridge)["FailedEntryCount"] == 0


def test_a_session_ends(bridge: StrictEventBridge) -> None:
    old = Key("ASIAOLD", "secret", "token", utc_now() - timedelta(seconds=1))
    bridge.keys[old.id] = old
    assert code_of(put, bridge, key=old) == "ExpiredTokenException"


def test_a_key_may_be_signed_for_another_region(bridge: StrictEventBridge) -> None:
    bridge.region = "us-east-1"
    assert code_of(put, bridge) == "InvalidSignatureException"


def test_a_missing_bus_swallows_events_in_silence(bridge: StrictEventBridge) -> None:
    client = a_client(bridge)
    answer = client.put_events(Entries=[entry("a", "nowhere"), entry("b"), entry("c", bridge.bus_arn())])
    assert (answer["FailedEntryCount"], len(answer["Entries"])) == (0, 3)
    assert (delivered(bridge), len(bridge.dropped)) == ("bc", 1)
    assert code_of(client.describe_event_bus, Name="nowhere") == "ResourceNotFoundException"
    assert code_of(client.put_rule, Name="r", EventBusName="nowhere") == "ResourceNotFoundException"
    assert client.describe_event_bus(Name=bridge.bus_arn())["Name"] == BUS
    assert client.put_rule(Name="r", EventBusName=BUS)["RuleArn"].endswith(":rule/failures/r")


def test_what_is_denied_is_refused_by_name(bridge: StrictEventBridge) -> None:
    bridge.denied.add("DescribeEventBus")
    assert code_of(a_client(bridge).describe_event_bus) == "AccessDeniedException"
    assert put(bridge)["FailedEntryCount"] == 0


def test_eleven_entries_and_too_many_bytes_are_refused_whole(bridge: StrictEventBridge) -> None:
    assert code_of(put, bridge, *"abcdefghijk") == "ValidationException"
    bridge.max_request_bytes = 100
    with pytest.raises(ClientError, match="Total size of the entries in the request is over the limit"):
        put(bridge)
    assert delivered(bridge) == ""


def test_one_bad_entry_is_refused_alone(bridge: StrictEventBridge) -> None:
    bad = entry("x") | {"Detail": "[]"}
    answer = a_client(bridge).put_events(Entries=[entry("a"), bad, entry("b")])
    assert [result.get("ErrorCode") for result in answer["Entries"]] == [None, "MalformedDetail", None]
    assert delivered(bridge) == "ab"


def test_sts_knows_its_callers_and_lends_roles(bridge: StrictEventBridge) -> None:
    bridge.roles[ROLE] = "shared-secret"
    sts = a_client(bridge, "sts")
    assert sts.get_caller_identity()["Account"] == "123456789012"
    assert code_of(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == "AccessDenied"
    lent = sts.assume_role(RoleArn=ROLE, RoleSessionName="me", ExternalId="shared-secret")["Credentials"]
    key = Key(lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"])
    assert a_client(bridge, "sts", key).get_caller_identity()["Arn"].endswith(":assumed-role/publisher/me")
    assert put(bridge, key=key)["FailedEntryCount"] == 0
    assert code_of(put, bridge, key=Key(key.id, key.secret, "other")) == "UnrecognizedClientException"
    wrong = a_client(bridge, "sts", Key(KEY.id, "wrong"))
    assert code_of(wrong.get_caller_identity) == "SignatureDoesNotMatch"
    unknown = a_client(bridge, "sts", Key("AKIAX", "x"))
    assert code_of(unknown.get_caller_identity) == "InvalidClientTokenId"


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
def test_a_refused_request_is_a_client_error_with_its_code(bridge: StrictEventBridge, fault: Fault, code: str) -> None:
    bridge.next(fault)
    assert code_of(put, bridge) == code
    assert delivered(bridge) == ""


def test_refused_entries_leave_their_neighbours_delivered(bridge: StrictEventBridge) -> None:
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
def test_an_answer_that_cannot_be_trusted_is_no_exception(
    bridge: StrictEventBridge, fault: Fault, entries: list[list[str]] | None
) -> None:
    bridge.next(fault)
    answer = put(bridge)
    assert (answer.get("Entries") and [sorted(result) for result in answer["Entries"]]) == entries
    assert delivered(bridge) == "ab"


def odd(name: str, action: Answer | Raw) -> Fault:
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
def test_what_a_lost_reply_becomes(
    bridge: StrictEventBridge, fault: Fault, error: type[Exception], cause: type[Exception]
) -> None:
    bridge.next(fault)
    with pytest.raises(BotoCoreError) as raised:
        put(bridge)
    assert (type(raised.value), type(raised.value.kwargs["error"])) == (error, cause)
    assert delivered(bridge) == ("ab" if fault.delivered else "")


def test_a_connection_refused_is_told_apart_by_its_cause_alone(bridge: StrictEventBridge) -> None:
    bridge.__exit__()
    with pytest.raises(EndpointConnectionError) as raised:
        put(bridge)
    assert isinstance(raised.value.kwargs["error"], aiohttp.ClientConnectorError)
    bridge.__enter__()


@pytest.mark.parametrize("body", [b"[1]", b"null", b'{"Entries": "x"}', b'{"Entries": ["\xff"]}'])
def test_json_of_another_shape_breaks_botocore_itself(bridge: StrictEventBridge, body: bytes) -> None:
    bridge.next(odd("odd", Answer(200, {}, body)))
    with pytest.raises((AttributeError, UnicodeDecodeError)):
        put(bridge)
    assert delivered(bridge) == "ab"


def test_a_redirect_that_keeps_the_method_sends_the_events_twice(bridge: StrictEventBridge) -> None:
    bridge.next(odd("307", Answer(307, {"Location": "/"})))
    assert put(bridge)["FailedEntryCount"] == 0
    assert delivered(bridge) == "abab"


def test_slow_bytes_never_trip_the_read_timeout(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.slow(400))
    assert put(bridge)["FailedEntryCount"] == 0


def test_faults_may_be_for_other_operations(bridge: StrictEventBridge) -> None:
    bridge.next(bus_faults.throttled(), operation="DescribeEventBus")
    bridge.next(bus_faults.html(502, delivered=False), operation="STS")
    assert put(bridge)["FailedEntryCount"] == 0
    assert code_of(a_client(bridge).describe_event_bus) == "ThrottlingException"
    assert code_of(a_client(bridge, "sts").get_caller_identity) == "502"


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - to be repeatable is the point


def test_chaos_with_the_same_seed_is_the_same_chaos() -> None:
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
def test_each_chaos_can_be_drawn(name: str) -> None:
    assert isinstance(bus_faults.CHAOS[name](seeded(1)), Fault)
