"""The fake of Alloy produces each fault for a real client."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from forwarder.demo.sample_data import execution
from tests.fakes.actions import ResetAfter
from tests.fakes.alloy import (
    API_KEY,
    MIB,
    FakeAlloy,
    bad_gzip,
    cut,
    cut_gzip,
    data_null,
    delayed,
    gzip_bomb,
    http_date,
    not_json,
    other_shape,
    out_of_order,
    repeating,
    shifting,
    short,
    skewed,
    slow,
    too_many_requests,
    unavailable,
    undated,
    wrong_length,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def alloy() -> Iterator[FakeAlloy]:
    with FakeAlloy(now=lambda: NOW) as alloy:
        for number in range(5):
            alloy.api.add("w", failed(number))
        yield alloy


def failed(number: int) -> dict[str, Any]:
    return execution("failed-status", id=f"{number}", started=NOW + timedelta(seconds=number))


def get(alloy: FakeAlloy, *, seconds: float = 20.0, **query: int) -> httpx.Response:
    headers = {"authorization": f"bearer {API_KEY}"}
    return httpx.get(f"{alloy.url}/2024-03/workflow/w/logs", params=query, headers=headers, timeout=seconds)


def ids(reply: httpx.Response) -> str:
    return "".join(record["executionId"] for record in reply.json()["data"])


def test_correct_page_is_listed_and_logged(alloy: FakeAlloy) -> None:
    assert ids(get(alloy, page=1, limit=2)) == "21"
    assert alloy.api.listed_ids == {"1", "2"}
    assert [request.query for request in alloy.requests] == [{"page": "1", "limit": "2"}]


@pytest.mark.parametrize("wait", ["7", http_date(NOW + timedelta(minutes=1)), "soon", "-3", None])
def test_throttled_request_has_any_form_of_retry_after(alloy: FakeAlloy, wait: str | None) -> None:
    alloy.next(too_many_requests(wait))
    reply = get(alloy)
    assert (reply.status_code, reply.headers.get("retry-after")) == (429, wait)
    assert ids(get(alloy)) == "43210"


def test_faults_apply_in_order_to_matching_paths_only(alloy: FakeAlloy) -> None:
    alloy.next(unavailable(502), unavailable(503), path_contains="/workflow/w/")
    alloy.next(unavailable(500), path_contains="/workflow/v/")
    assert [get(alloy).status_code for _ in range(3)] == [502, 503, 200]


def test_rule_applies_until_cleared(alloy: FakeAlloy) -> None:
    alloy.always(lambda request: ResetAfter() if request.query.get("page") == "1" else None)
    assert get(alloy, page=0).status_code == 200
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            get(alloy, page=1)
    alloy.clear()
    assert get(alloy, page=1).status_code == 200


def test_body_that_is_not_a_page_is_sent_unchanged(alloy: FakeAlloy) -> None:
    alloy.next(not_json(), data_null(), other_shape())
    assert get(alloy).text.startswith("<html>")
    assert [get(alloy).json() for _ in range(2)] == [{"data": None}, ["a", "list"]]


def test_gzip_bomb_decompresses_to_its_size() -> None:
    bomb = gzip_bomb(4 * MIB)
    unpacked = gzip.decompress(bomb.body)
    assert len(bomb.body) < 10_000 < 4 * MIB < len(unpacked)
    assert json.loads(unpacked) == {"data": []}


def test_damaged_page_is_an_error_of_httpx(alloy: FakeAlloy) -> None:
    alloy.next(bad_gzip, cut(20), wrong_length(5), delayed(5))
    for error in (httpx.DecodingError, httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.ReadTimeout):
        with pytest.raises(error):
            get(alloy, seconds=1.0)


def test_truncated_gzip_is_no_error_of_httpx(alloy: FakeAlloy) -> None:
    alloy.next(cut_gzip)
    reply = get(alloy)
    assert reply.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()


def test_slow_page_arrives_whole(alloy: FakeAlloy) -> None:
    alloy.next(slow(200_000))
    assert ids(get(alloy)) == "43210"


def test_date_header_may_be_wrong_or_missing(alloy: FakeAlloy) -> None:
    alloy.next(skewed(timedelta(hours=-1)), undated)
    assert get(alloy).headers["date"] == "Mon, 02 Nov 2026 11:00:00 GMT"
    assert "date" not in get(alloy).headers


def test_shifting_listing_repeats_records(alloy: FakeAlloy) -> None:
    newer = iter(range(5, 9))
    alloy.always(shifting(alloy.api, "w", lambda: failed(next(newer))))
    assert [ids(get(alloy, page=page, limit=2)) for page in range(3)] == ["43", "32", "21"]


def test_repeating_listing_never_ends(alloy: FakeAlloy) -> None:
    alloy.always(repeating(alloy))
    assert [ids(get(alloy, page=page, limit=2)) for page in (0, 1, 99)] == ["43", "43", "43"]


def test_short_listing_limits_every_page(alloy: FakeAlloy) -> None:
    alloy.always(short(alloy, 3))
    assert [ids(get(alloy, page=page, limit=30)) for page in range(3)] == ["432", "10", ""]


def test_unordered_page_has_all_records(alloy: FakeAlloy) -> None:
    alloy.next(out_of_order(seed=1))
    shuffled = ids(get(alloy))
    assert (sorted(shuffled), shuffled == "43210") == (list("01234"), False)


def test_removed_workflow_is_not_found(alloy: FakeAlloy) -> None:
    alloy.api.remove_workflow("w")
    assert get(alloy).status_code == 404
