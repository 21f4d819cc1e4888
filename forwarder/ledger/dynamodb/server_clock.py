"""The clock by which DynamoDB deletes expired items, read from the Date header of its responses."""

import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any


class ServerClock:
    """The difference between this machine's clock and DynamoDB's, at the last response."""

    def __init__(self) -> None:
        self._date = ""
        self._received_at = 0.0

    def observe(self, response: Mapping[str, Any]) -> None:
        """Keep the Date of a response of the SDK, and the time of its arrival."""
        self._date = response["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        self._received_at = time.time()

    @property
    def lead(self) -> timedelta:
        """Return by how much this machine's clock is ahead, or zero if it is not, or if nothing is known."""
        try:
            seconds = self._received_at - parsedate_to_datetime(self._date).timestamp()
        except ValueError:
            return timedelta()
        return timedelta(seconds=max(0.0, seconds))
