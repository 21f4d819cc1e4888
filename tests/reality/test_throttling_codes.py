"""Codes of throttling and temporary failures of AWS are retried without limit, and cause no dead letter."""

from __future__ import annotations

import pytest
from botocore.retries.standard import ThrottledRetryableChecker

from forwarder.aws.request_errors import THROTTLING_CODES
from forwarder.aws.responses import entry_outcome
from forwarder.model import Retry
from tests.e2e.harness import fail, numbered, publishing, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes, refused
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

CODES = ["ProvisionedThroughputExceededException", "SlowDown", "RequestThrottled", "ServiceUnavailableException"]
ENDPOINT_DENIAL = (
    "User: arn:aws:sts::123456789012:assumed-role/publisher/x is not authorized to perform: events:PutEvents on"
    " resource: arn:aws:events:eu-central-1:123456789012:event-bus/failures with an explicit deny in a"
)


def test_throttling_codes_are_those_of_the_sdk() -> None:
    assert set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES) - THROTTLING_CODES == set()  # noqa: SLF001  # the list itself


@pytest.mark.parametrize("code", CODES)
def test_throttled_entry_counts_no_unclassified_attempt(code: str) -> None:
    assert entry_outcome({"ErrorCode": code, "ErrorMessage": "later"}) == Retry(
        code, "later", unclassified_attempt=False
    )


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "SlowDown", "RequestThrottledException"])
def test_throttled_request_settles_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, code: str
) -> None:
    """The code may have status 400, like an error of the request."""
    fail(alloy, *numbered(3))
    bus.always(publishing(refused(400, code, "Rate exceeded")))
    assert installation.run_command("once", "--timeout", "3s").code == 69
    assert (installation.counters()["pending"], installation.dead_letters()) == (3, [])
    bus.clear()
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(3)


def test_mixed_entries_are_settled_by_their_own_outcomes(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(4))
    bus.next(entry_codes({1: "InternalFailure", 2: "ServiceUnavailable"}), entry_codes({0: "SlowDown"}))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(4)


@pytest.mark.parametrize("policy", ["VPC endpoint policy", "service control policy", "permissions boundary"])
@pytest.mark.parametrize("status", [400, 403])
def test_explicit_deny_pauses_delivery_and_is_named(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, policy: str, status: int
) -> None:
    fail(alloy, "x")
    bus.always(publishing(refused(status, "AccessDeniedException", f"{ENDPOINT_DENIAL} {policy}")))
    done = installation.run_command("once", "--timeout", "3s")
    assert (done.code, installation.counters()["pending"], installation.dead_letters()) == (77, 1, [])
    assert f"an explicit deny in a {policy}" in done.output
