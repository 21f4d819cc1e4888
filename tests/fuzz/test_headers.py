"""Any headers of a response give a finite wait in seconds, and a valid clock or none."""

from __future__ import annotations

import math
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.http_client import MAX_PAUSE_SECONDS, RequestThrottle
from forwarder.alloy.responses import retry_after
from tests.factories import examples
from tests.fuzz.byte_strategies import damaged
from tests.virtual_clock import NOON, QuickClock

DATE = format_datetime(NOON, usegmt=True)

values = (
    st.text(max_size=60)
    | damaged(DATE.encode()).map(lambda value: value.decode("latin-1"))
    | st.integers(-(10**30), 10**30).map(str)
    | st.floats().map(str)
    | st.datetimes().map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)


@given(values, st.none() | values)
@examples(300)
def test_any_retry_after_is_finite_and_at_most_an_hour(header: str, date: str | None) -> None:
    headers = {"retry-after": header} | ({} if date is None else {"date": date})
    seconds = retry_after(headers, NOON)
    assert 0 <= seconds < math.inf
    assert 0 < RequestThrottle(QuickClock(), 1).pause(seconds) <= MAX_PAUSE_SECONDS
