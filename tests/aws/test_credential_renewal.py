"""The log line about temporary keys that could not be renewed in time, while the old ones are still valid."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from structlog.testing import capture_logs

from forwarder.aws import credential_chain

KEY_ID = "ASIA-still-valid"


async def fail() -> dict[str, str]:
    raise ConnectionError("secret-of-the-endpoint")


@pytest.fixture
def _silent_sdk() -> Iterator[None]:
    """The level of the SDK's loggers in the program."""
    sdk = logging.getLogger("aiobotocore")
    level = sdk.level
    sdk.setLevel(logging.CRITICAL)
    yield
    sdk.setLevel(level)


@pytest.mark.usefixtures("_silent_sdk")
async def test_failed_renewal_of_valid_keys_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The message of the SDK has a traceback, and is not written."""
    assert credential_chain
    expiry = datetime.now(UTC) + timedelta(minutes=12)
    keys = AioRefreshableCredentials(KEY_ID, "secret", "token", expiry, fail, "sts-assume-role")
    with capture_logs() as lines:
        assert (await keys.get_frozen_credentials()).access_key == KEY_ID
    assert lines == [{"event": "AWS credentials not renewed yet", "reason": "ConnectionError", "log_level": "warning"}]
    assert not caplog.records
