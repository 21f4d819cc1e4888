"""The exception that the client raises for each network fault and each refusal of the API."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from forwarder.alloy.responses import retry_after
from forwarder.demo.sample_data import execution
from forwarder.errors import (
    PageTooLarge,
    PageUnreadable,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from tests.alloy.harness import FEED, ids, open_client
from tests.fakes import alloy as faults
from tests.fakes.actions import Chunked, Hang, HttpResponse, ResetAfter, ResetBefore
from tests.fakes.alloy import API_KEY, MIB, FakeAlloy
from tests.virtual_clock import NOON, QuickClock

Fault = faults.Fault

BROKEN: list[tuple[Fault, type[SourceError]]] = [
    (faults.unauthorized(), SourceRefused),
    (faults.forbidden(), SourceRefused),
    (faults.unavailable(500), SourceUnavailable),
    (faults.unavailable(503), SourceUnavailable),
    (faults.too_many_requests(), SourceUnavailable),
    (HttpResponse(408), SourceUnavailable),
    (HttpResponse(425), SourceUnavailable),
    (HttpResponse(302, {"Location": "/elsewhere"}), PageUnreadable),
    (HttpResponse(418), PageUnreadable),
    (faults.not_json(), PageUnreadable),
    (faults.data_null(), PageUnreadable),
    (faults.other_shape(), PageUnreadable),
    (HttpResponse(200), PageUnreadable),
    (faults.gzip_bomb(8 * MIB), PageTooLarge),
    (HttpResponse(200, {}, b'{"data": [' + b" " * MIB + b"]}"), PageTooLarge),
    (faults.broken_gzip, SourceUnavailable),
    (faults.cut_gzip, SourceUnavailable),
    (faults.cut(20), SourceUnavailable),
    (faults.cut(20, reset=True), SourceUnavailable),
    (lambda response: Chunked(response, ends=False), SourceUnavailable),
    (ResetAfter(), SourceUnavailable),
    (ResetBefore(), SourceUnavailable),
    (HttpResponse(200, {"Content-Encoding": "br"}, b"x"), PageUnreadable),
]


@pytest.mark.parametrize(("fault", "exception_type"), BROKEN)
async def test_fault_raises_its_exception_and_next_request_succeeds(
    alloy: FakeAlloy, fault: Fault, exception_type: type[SourceError]
) -> None:
    """The message contains neither the key nor the address."""
    alloy.next(fault)
    async with open_client(alloy) as client:
        with pytest.raises(SourceError) as raised:
            await ids(client)
        assert type(raised.value) is exception_type
        assert not [secret for secret in (API_KEY, alloy.url, "/w/") if secret in f"{raised.value} {raised.value!r}"]
        assert await ids(client) == "43"


@pytest.mark.parametrize("fault", [faults.wrong_length(5), faults.delayed(5), faults.slow(100), Hang(60)])
async def test_incomplete_response_times_out(alloy: FakeAlloy, fault: Fault) -> None:
    alloy.next(fault)
    async with open_client(alloy, timeout="200ms") as client:
        with pytest.raises(SourceUnavailable, match="in time"):
            await ids(client)
    async with open_client(alloy) as client:
        assert await ids(client) == "43"


@pytest.mark.parametrize("missing", [1, 10, 200])
async def test_content_length_too_short_fails_one_request(alloy: FakeAlloy, missing: int) -> None:
    """The bytes beyond the declared length arrive before the next response on that connection."""
    alloy.next(faults.wrong_length(-missing))
    async with open_client(alloy) as client:
        with pytest.raises(SourceError):
            await ids(client)
        with contextlib.suppress(SourceUnavailable):
            assert await ids(client) == "43"
        assert await ids(client) == "43"


async def test_missing_server_is_unavailable() -> None:
    with FakeAlloy() as alloy:
        pass
    async with open_client(alloy) as client:
        with pytest.raises(SourceUnavailable):
            await ids(client)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", None), ("soon", None), (None, None), ("-3", None), ("99999999", 3600),
     (faults.http_date(NOON + timedelta(minutes=1)), 60), (faults.http_date(NOON - timedelta(minutes=1)), None)],
)  # fmt: skip
async def test_throttled_client_delays_every_request_by_retry_after(
    alloy: FakeAlloy, header: str | None, seconds: float | None
) -> None:
    clock = QuickClock(NOON + timedelta(days=3))  # the local clock must not matter
    alloy.next(faults.too_many_requests(header) if header is None or "," not in header else dated(header))
    async with open_client(alloy, clock) as client:
        with pytest.raises(SourceUnavailable) as raised:
            await ids(client)
        assert raised.value.retry_after > 0
        assert seconds is None or raised.value.retry_after == seconds
        before = clock.monotonic()
        assert await ids(client, feed=FEED) == "43"
        assert clock.monotonic() - before >= raised.value.retry_after - 1e-6


def dated(header: str) -> HttpResponse:
    throttled = faults.too_many_requests(header)
    return HttpResponse(throttled.status, {**throttled.headers, "Date": faults.http_date(NOON)}, throttled.body)


async def test_outage_delays_requests_only_with_retry_after(
    alloy: FakeAlloy,
) -> None:
    clock = QuickClock()
    alloy.next(faults.unavailable(503, "40"), faults.unavailable(503))
    async with open_client(alloy, clock) as client:
        for minimum, maximum, header in ((0, 1, 40), (40, 41, 0)):
            before = clock.monotonic()
            with pytest.raises(SourceUnavailable) as raised:
                await ids(client)
            assert raised.value.retry_after == header
            assert minimum <= clock.monotonic() - before <= maximum


MOMENT = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": " 12 "}, 12),
        ({"retry-after": "9" * 500}, 999_999_999),
        ({"retry-after": "1.5"}, 0),
        ({"retry-after": "²"}, 0),
        ({"retry-after": "Mon, 02 Nov 2026 12:01:00 GMT"}, 60),
        ({"retry-after": "Mon, 02 Nov 2026 12:01:00 GMT", "date": "Mon, 02 Nov 2026 12:00:50 GMT"}, 10),
        ({"retry-after": "Mon, 02 Nov 2026 12:01:00 GMT", "date": "nonsense"}, 60),
        ({"retry-after": "Mon, 02 Nov 0000 12:01:00 GMT"}, 0),
        ({"retry-after": "Mon, 99 Nov 2026 12:01:00 GMT"}, 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(headers: dict[str, str], seconds: float) -> None:
    """An invalid value counts as zero seconds."""
    assert retry_after(headers, MOMENT) == seconds


SLASHED_KEY = "k3y/planted+0001/abc="
"""A key in base64, whose slashes some encoders of JSON escape."""


@pytest.mark.parametrize("text", ["{} is not active", "no account for {}", "request by {} refused", "invalid key: {}"])
@pytest.mark.parametrize("key", [API_KEY, SLASHED_KEY])
@pytest.mark.parametrize("escaped", [False, True])
async def test_own_key_in_a_reported_error_is_removed(alloy: FakeAlloy, text: str, key: str, escaped: bool) -> None:
    body = json.dumps({"success": False, "message": text.format(key)})
    alloy.always(lambda _: HttpResponse(200, {}, (body.replace("/", r"\/") if escaped else body).encode()))
    async with open_client(alloy, key=key) as client:
        for request in (ids(client), client.list_users()):
            with pytest.raises(SourceUnavailable) as raised:
                await request
            assert key not in str(raised.value)
            assert text.split("{}", maxsplit=1)[0].strip() in raised.value.message


async def test_own_key_is_removed_from_every_text(alloy: FakeAlloy) -> None:
    """A workflow may call the same API, and list its request in an error."""
    record = execution("failed-block", id="1", started=NOON) | {"error": f"{API_KEY} is not active"}
    alloy.api.add("w", record)
    async with open_client(alloy) as client:
        page = await client.fetch_page(FEED, 0, 2)
        assert [API_KEY.encode() in text for text in (page.body, bytes(page.records.executions[0].error))] == [
            False
        ] * 2
        alloy.next(HttpResponse(200, {}, json.dumps({"data": [{"workflowId": "w", "name": API_KEY}]}).encode()))
        assert await client.list_workflows("u") == {"w": "[redacted]"}
        alloy.next(HttpResponse(201, {}, json.dumps({"message": f"accepted from {API_KEY}"}).encode()))
        assert await client.rerun(FEED, "1") == "accepted from [redacted]"


async def test_key_that_may_be_part_of_any_text_is_not_removed(alloy: FakeAlloy) -> None:
    body = b'{"data": [{"executionId": "a-data", "status": "error"}]}'
    alloy.always(lambda _: HttpResponse(200, {}, body))
    async with open_client(alloy, key="data") as client:
        assert await ids(client) == "a-data"
