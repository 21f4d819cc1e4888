"""The strict EventBridge accepts requests that botocore signs, and refuses the same requests as AWS."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.fakes.eventbridge import BUS, KEY, StrictEventBridge
from tests.fakes.sdk_clients import a_client, code_of, delivered, entry, put
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now

if TYPE_CHECKING:
    pass

ROLE = "arn:aws:iam::123456789012:role/publisher"


def test_correct_request_is_delivered(bridge: StrictEventBridge) -> None:
    answer = put(bridge)
    assert [result["EventId"] for result in answer["Entries"]] == [e.event_id for e in bridge.delivered]
    assert (answer["FailedEntryCount"], delivered(bridge), bridge.max_in_flight) == (0, "ab", 1)


def test_request_of_boto3_is_delivered(bridge: StrictEventBridge) -> None:
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
def test_wrong_key_is_refused(bridge: StrictEventBridge, key: Key, code: str) -> None:
    assert code_of(put, bridge, key=key) == code
    assert delivered(bridge) == ""


@pytest.mark.parametrize("minutes", [-6, 6])
def test_clock_off_by_more_than_five_minutes_is_refused(minutes: int) -> None:
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes)) as bridge:
        assert code_of(put, bridge) == "InvalidSignatureException"
    with StrictEventBridge(now=lambda: utc_now() + timedelta(minutes=minutes / 2)) as bridge:
        assert put(bridge)["FailedEntryCount"] == 0


def test_expired_session_is_refused(bridge: StrictEventBridge) -> None:
    old = Key("ASIAOLD", "secret", "token", utc_now() - timedelta(seconds=1))
    bridge.keys[old.id] = old
    assert code_of(put, bridge, key=old) == "ExpiredTokenException"


def test_signature_for_another_region_is_refused(bridge: StrictEventBridge) -> None:
    bridge.region = "us-east-1"
    assert code_of(put, bridge) == "InvalidSignatureException"


def test_missing_bus_drops_events_silently(bridge: StrictEventBridge) -> None:
    client = a_client(bridge)
    answer = client.put_events(Entries=[entry("a", "nowhere"), entry("b"), entry("c", bridge.bus_arn())])
    assert (answer["FailedEntryCount"], len(answer["Entries"])) == (0, 3)
    assert (delivered(bridge), len(bridge.dropped)) == ("bc", 1)
    assert code_of(client.describe_event_bus, Name="nowhere") == "ResourceNotFoundException"
    assert code_of(client.put_rule, Name="r", EventBusName="nowhere") == "ResourceNotFoundException"
    assert client.describe_event_bus(Name=bridge.bus_arn())["Name"] == BUS
    assert client.put_rule(Name="r", EventBusName=BUS)["RuleArn"].endswith(":rule/failures/r")


def test_denied_operation_is_refused_by_name(bridge: StrictEventBridge) -> None:
    bridge.denied.add("DescribeEventBus")
    assert code_of(a_client(bridge).describe_event_bus) == "AccessDeniedException"
    assert put(bridge)["FailedEntryCount"] == 0


def test_request_over_its_limits_is_refused_whole(bridge: StrictEventBridge) -> None:
    assert code_of(put, bridge, *"abcdefghijk") == "ValidationException"
    bridge.max_request_bytes = 100
    with pytest.raises(ClientError, match="Total size of the entries in the request is over the limit"):
        put(bridge)
    assert delivered(bridge) == ""


def test_malformed_entry_is_refused_alone(bridge: StrictEventBridge) -> None:
    bad = entry("x") | {"Detail": "[]"}
    answer = a_client(bridge).put_events(Entries=[entry("a"), bad, entry("b")])
    assert [result.get("ErrorCode") for result in answer["Entries"]] == [None, "MalformedDetail", None]
    assert delivered(bridge) == "ab"


def test_sts_identifies_callers_and_assumes_roles(bridge: StrictEventBridge) -> None:
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


def test_no_queue_exists_on_the_socket(bridge: StrictEventBridge) -> None:
    sqs = a_client(bridge, "sqs")
    assert code_of(sqs.get_queue_url, QueueName="q") == "QueueDoesNotExist"
    assert code_of(a_client(bridge, "sqs", Key(KEY.id, "wrong")).get_queue_url, QueueName="q").startswith("Invalid")
    assert [request.operation for request in bridge.served] == ["SQS", "SQS"]
