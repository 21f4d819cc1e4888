"""Events that are too large: their whole detail is stored in a bucket, and the event refers to it."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.s3 import HTML, LOST_RESPONSE, RESET, SLOW, FakeS3
from tests.harness.installation import Installation

BUCKET = "failure-details"
SECRET = "sk_live_" + "planted0" * 3
LARGE = {"note": "x" * 40_000, "password": SECRET, "text": f"Authorization: Bearer {SECRET}"}


@pytest.fixture
def s3(installation: Installation) -> Iterator[FakeS3]:
    with FakeS3() as s3:
        use(installation, s3)
        yield s3


def use(installation: Installation, s3: FakeS3) -> None:
    installation.env["AWS_ENDPOINT_URL_S3"] = s3.url
    installation.change("event", oversize="s3", s3_bucket=BUCKET)
    installation.change("destination", max_entry_bytes=20_000, timeout="1s")


def details(bus: StrictEventBridge) -> dict[str, Any]:
    return {event.detail["executionId"]: event.detail for event in list(bus.delivered)}


def whole(s3: FakeS3, reference: dict[str, Any]) -> dict[str, Any]:
    """Return the stored object, whose size and digest must be those of the reference."""
    body = s3.objects[reference["bucket"], reference["key"]]
    assert (len(body), hashlib.sha256(body).hexdigest()) == (reference["size"], reference["sha256"])
    stored: dict[str, Any] = json.loads(body)
    return stored


def test_large_event_refers_to_its_whole_detail(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, s3: FakeS3
) -> None:
    fail(alloy, "large", payload=LARGE)
    fail(alloy, "small")
    fail(alloy, "../../odd id/☃", payload=LARGE)
    assert installation.run_command("once").code == 0
    events = details(bus)
    assert sorted(events) == ["../../odd id/☃", "large", "small"]
    assert "dataref" not in events["small"]
    for execution_id in ("large", "../../odd id/☃"):
        detail = events[execution_id]
        assert detail["trimmed"]["originalBytes"] == detail["dataref"]["size"]
        assert detail["dataref"]["key"].startswith("forwarder/20")
        stored = whole(s3, detail["dataref"])
        assert stored["executionId"] == execution_id
        assert "x" * 40_000 in json.dumps(stored)
        assert "trimmed" not in stored
        assert SECRET not in json.dumps([stored, detail])
        assert stored["forwarder"] == detail["forwarder"]
    assert len(s3.puts) == 2


def test_event_that_only_trims_has_no_reference(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, s3: FakeS3
) -> None:
    installation.change("event", oversize="trim")
    fail(alloy, "large", payload=LARGE)
    assert installation.run_command("once").code == 0
    assert "dataref" not in details(bus)["large"]
    assert s3.puts == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("AccessDenied", "refuses the payload: AccessDenied"),
        ("NoSuchBucket", "there is no bucket failure-details"),
        pytest.param("KMS.DisabledException", "refuses the payload: KMS.DisabledException", marks=pytest.mark.long),
        ("AuthorizationHeaderMalformed", "is in another region"),
        pytest.param("PermanentRedirect", "is in another region", marks=pytest.mark.long),
        ("RequestTimeTooSkewed", "refuses the signature"),
        ("SlowDown", "fails: SlowDown"),
        pytest.param("InternalError", "fails: InternalError", marks=pytest.mark.long),
        (RESET, "cannot be reached"),
        (HTML, "cannot be decoded"),
    ],
)
def test_refused_payload_trims_the_event_and_is_reported(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, s3: FakeS3, fault: str, reason: str
) -> None:
    """A refusal is tried once, an outage three times, and the second event of the poll not at all."""
    s3.always = fault
    fail(alloy, "a", "b", payload=LARGE)
    done = installation.run_command("once")
    assert done.code == 0, done.output
    assert sent(bus) == ["a", "b"]
    assert all("trimmed" in detail and "dataref" not in detail for detail in details(bus).values())
    (line,) = [line for line in done.log if line["event"] == "payload not stored, event trimmed"]
    assert reason in line["reason"]
    assert len({key for _, key in s3.puts}) == 1
    assert installation.run_command("status", "--json").json()["components"] == {}


@pytest.mark.parametrize("fault", ["SlowDown", LOST_RESPONSE, RESET, pytest.param(SLOW, marks=pytest.mark.long)])
def test_short_outage_of_the_bucket_is_retried(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, s3: FakeS3, fault: str
) -> None:
    s3.faults.append(fault)
    fail(alloy, "a", payload=LARGE)
    assert installation.run_command("once").code == 0
    whole(s3, details(bus)["a"]["dataref"])
    assert len(set(s3.puts)) == 1


@pytest.mark.parametrize("response", ["", LOST_RESPONSE])
def test_kill_between_object_and_record_loses_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, response: str
) -> None:
    """The process dies after the object is stored and before the entry is recorded. No event refers to that object."""
    with FakeS3() as s3:
        use(installation, s3)
        s3.faults.append(response)
        with installation.start() as daemon:
            s3.on_stored = daemon.kill
            fail(alloy, "a", payload=LARGE)
            daemon.wait_until(lambda: bool(s3.objects))
            daemon.wait(within=20)
        s3.on_stored = lambda: None
        assert sent(bus) == []
        assert installation.run_command("once").code == 0
        reference = details(bus)["a"]["dataref"]
        whole(s3, reference)
        assert s3.puts[-1] == (BUCKET, reference["key"])
        assert {key[:-21] for _, key in s3.puts} == {reference["key"][:-21]}  # they differ in the time of reading only


def test_recovered_bucket_is_healthy_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, s3: FakeS3
) -> None:
    s3.always = "AccessDenied"
    fail(alloy, "a", payload=LARGE)
    installation.change("source", min_interval="100ms", max_interval="100ms")
    with installation.start() as daemon:
        daemon.wait_until(lambda: state(installation) == "DEGRADED")
        s3.always = ""
        installation.change("event", s3_prefix="others/")  # a reload ends the pause
        daemon.wait_until(lambda: daemon.has_logged("settings reloaded"))
        fail(alloy, "b", payload=LARGE, ago=1)
        daemon.wait_until(lambda: state(installation) == "HEALTHY")
        daemon.wait_until(lambda: sent(bus) == ["a", "b"])
        s3.always = "AccessDenied"
        fail(alloy, "c", payload=LARGE, ago=1)
        daemon.wait_until(lambda: state(installation) == "DEGRADED")
        installation.change("event", oversize="trim")
        daemon.wait_until(lambda: state(installation) == "HEALTHY")
    assert details(bus)["b"]["dataref"]["key"].startswith("others/")
    whole(s3, details(bus)["b"]["dataref"])


def state(installation: Installation) -> str:
    components = installation.run_command("status", "--json").json()["components"]
    return str(components.get("payloads", {}).get("state", ""))


def test_check_send_stores_a_test_object(installation: Installation, s3: FakeS3) -> None:
    steps = {step["name"]: step for step in installation.run_command("check", "--json").json()}
    assert (steps["payload bucket"]["ok"], s3.puts) == (None, [])
    steps = {step["name"]: step for step in installation.run_command("check", "--send", "--json").json()}
    assert steps["payload bucket"]["ok"] is True
    assert [key.startswith("forwarder/check/") for _, key in s3.puts] == [True]
    s3.always = "AccessDenied"
    done = installation.run_command("check", "--send")
    assert done.code == 69
    assert "s3:PutObject" in done.out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"oversize": "s3"}, 'oversize = "s3" needs s3_bucket'),
        ({"s3_bucket": "s3://failure-details"}, "s3_bucket"),
        ({"s3_bucket": "Failure_Details"}, "s3_bucket"),
        ({"s3_bucket": BUCKET, "s3_prefix": "/absolute/"}, "s3_prefix"),
    ],
)
def test_invalid_bucket_settings_are_refused(installation: Installation, values: dict[str, str], message: str) -> None:
    installation.change("event", **values)
    done = installation.run_command("check")
    assert done.code == 78
    assert message in done.output
