"""Any response to PutEvents gives an outcome for each entry, or an error by which no entry was accepted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.aws.responses import RequestRefusal
from forwarder.errors import DestinationError
from forwarder.model import Accepted
from tests.aws.harness import events, open_bus
from tests.factories import examples, texts, trees
from tests.fakes.actions import HttpResponse
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge
from tests.fuzz.byte_strategies import hostile

VALID_RESPONSE = json.dumps(
    {"FailedEntryCount": 1, "Entries": [{"EventId": "e"}, {"ErrorCode": "X", "ErrorMessage": "m"}]}
)
REFUSAL = json.dumps({"__type": "com.amazonaws#ThrottlingException:http://x/", "message": "Rate exceeded"})

results = st.dictionaries(st.sampled_from(["EventId", "ErrorCode", "ErrorMessage"]), texts | trees)
answers = st.fixed_dictionaries(
    {}, optional={"Entries": st.lists(results, max_size=3) | trees, "FailedEntryCount": trees}
)
bodies = hostile(VALID_RESPONSE.encode(), REFUSAL.encode()) | answers.map(lambda content: json.dumps(content).encode())
statuses = st.sampled_from([200] * 6 + [202, 204, 299, 400, 401, 403, 404, 413, 418, 429, 500, 502, 503, 599])
headers = st.dictionaries(
    st.sampled_from(["X-Amzn-ErrorType", "Content-Type", "X-Amzn-RequestId", "Content-Encoding"]),
    st.sampled_from(["application/x-amz-json-1.1", "text/html", "gzip", "ThrottlingException", "", ":", "x" * 3000]),
)


@pytest.fixture(scope="module")
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge


@given(status=statuses, headers=headers, body=bodies)
@examples(60, short=20)
def test_any_response_has_an_outcome_per_entry_or_is_refused(
    bridge: StrictEventBridge, status: int, headers: dict[str, str], body: bytes
) -> None:
    bridge.next(Fault("any", delivered=False, spoil=lambda _: HttpResponse(status, headers, body)))
    asyncio.run(_put(bridge, status))
    bridge.clear()


async def _put(bridge: StrictEventBridge, status: int) -> None:
    async with open_bus(bridge) as bus:
        try:
            answer = await bus.publish(events("ab"))
        except DestinationError:
            return
    if isinstance(answer, RequestRefusal):
        assert status >= 400
        return
    assert len(answer.outcomes) == 2
    assert status < 300 or not any(isinstance(outcome, Accepted) for outcome in answer.outcomes)
