"""The decoding of pages: every documented variant is read, and a malformed part hides no well-formed one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.decode import Records, decode_page
from forwarder.alloy.json_tree import decode_tree
from forwarder.demo.sample_data import VARIANTS, product_page_sample
from forwarder.errors import PageUndecodable, PageUnreadable
from forwarder.model import MAX_ID_BYTES
from tests.alloy.pages import (
    EXCESSIVE_DEPTH,
    body,
    encoded,
    malformed,
    malformed_values,
    record,
    well_formed,
    with_field,
)
from tests.factories import examples, trees
from tests.virtual_clock import NOON

STARTED = NOON - timedelta(seconds=1.5)


def ids(records: Records) -> list[str]:
    return [execution.id for execution in records.executions]


def the_only(page: bytes) -> Any:
    records = decode_page(page)
    assert records.rejected == []
    (execution,) = records.executions
    return execution


def test_sample_of_the_product_page_is_one_execution() -> None:
    (listed,) = json.loads(product_page_sample())["data"]
    execution = the_only(product_page_sample())
    assert (execution.id, execution.status) == (listed["executionId"], listed["status"])
    assert execution.start == datetime.fromisoformat(listed["startedAt"])
    assert json.loads(bytes(execution.results)) == listed["results"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_start_and_stop_of_each_variant_are_read(variant: Any) -> None:
    execution = the_only(body([encoded(record(variant=variant))]))
    assert (execution.start, execution.stop) == (NOON - timedelta(seconds=1.5), NOON)


@given(st.lists(well_formed, max_size=6))
@examples(100)
def test_well_formed_records_are_decoded_in_order(listed: list[dict[str, Any]]) -> None:
    records = decode_page(body([encoded(item) for item in listed]))
    assert (ids(records), records.rejected) == ([item["executionId"] for item in listed], [])
    assert records.is_empty == (not listed)


@given(st.lists(well_formed.map(encoded) | malformed, min_size=1, max_size=5))
@examples(300)
def test_malformed_field_hides_no_record(listed: list[bytes]) -> None:
    records = decode_page(body(listed))
    assert len(records.executions) == len(listed)
    assert records.rejected == []


not_records = st.sampled_from(
    [b"null", b"7", b'"text"', b"[]", b"{}", b'{"executionId": null}', b'{"executionId": ""}', b'{"executionId": true}']
) | st.builds(lambda value: b'{"executionId": {"a": ' + value + b"}}", malformed_values)


@given(well_formed, not_records, well_formed)
@examples(200)
def test_record_without_id_is_rejected_alone(before: dict[str, Any], bad: bytes, after: dict[str, Any]) -> None:
    records = decode_page(body([encoded(before), bad, encoded(after)]))
    assert sorted(ids(records)) == sorted([before["executionId"], after["executionId"]])
    (rejected,) = records.rejected
    assert rejected.digest
    assert rejected.reason


@given(st.binary(max_size=300))
@examples(300)
def test_any_bytes_are_a_page_or_unreadable(page: bytes) -> None:
    decode_or_none(page)


@given(trees)
@examples(200)
def test_any_json_is_a_page_or_unreadable(content: Any) -> None:
    decode_or_none(encoded(content))
    decode_or_none(encoded({"data": content}))
    decode_or_none(encoded({"data": [content, {"executionId": content}]}))


@given(st.lists(well_formed.map(encoded) | malformed, min_size=1, max_size=3).map(body), st.data())
@examples(500)
def test_damaged_page_is_a_page_or_unreadable(page: bytes, data: st.DataObject) -> None:
    """The damage is bytes changed, deleted or inserted."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(page)))
        deleted = data.draw(st.sampled_from([0, 1, 1, 5, 1000]))
        inserted = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"\xff"])
        )
        page = page[:at] + inserted + page[at + deleted :]
    decode_or_none(page)


def decode_or_none(page: bytes) -> Records | None:
    try:
        records = decode_page(page)
    except PageUnreadable:  # PageUndecodable is one
        return None
    assert all(0 < len(execution.id.encode()) <= MAX_ID_BYTES for execution in records.executions)
    return records


@pytest.mark.parametrize("page", [b"", b"<html></html>", b'{"data": [', b"null", b"[]", b"7", b'"x"', b'{"data"'])
def test_body_without_json_object_is_unreadable(page: bytes) -> None:
    with pytest.raises(PageUnreadable) as raised:
        decode_page(page)
    assert not isinstance(raised.value, PageUndecodable)


@pytest.mark.parametrize("content", [{}, {"data": None}, {"data": {}}, {"data": "x"}, {"message": "Unauthorized"}])
def test_object_without_a_list_is_unreadable(content: dict[str, Any]) -> None:
    with pytest.raises(PageUnreadable) as raised:
        decode_page(encoded(content))
    assert not isinstance(raised.value, PageUndecodable)


def test_malformed_page_is_undecodable_and_cut_page_unreadable() -> None:
    page = body([encoded(record("e-1")), b'{"executionId": "e-2", "status": tru}'])
    with pytest.raises(PageUndecodable) as raised:
        decode_page(page)
    assert raised.value.digest
    assert "e-2" not in str(raised.value)
    with pytest.raises(PageUnreadable) as cut:
        decode_page(page[:-1])
    assert not isinstance(cut.value, PageUndecodable)


@pytest.mark.parametrize(
    ("execution_id", "is_accepted"),
    [
        ("a", True),
        ("a/b c?d#e%2F 🫖 ä\n", True),
        ("\u0000", True),
        ("i" * MAX_ID_BYTES, True),
        ("i" * (MAX_ID_BYTES + 1), False),
        ("🫖" * (MAX_ID_BYTES // 4), True),
        ("🫖" * (MAX_ID_BYTES // 4) + "i", False),
        ("", False),
    ],
)
def test_id_within_the_limit_is_kept_unchanged(execution_id: str, is_accepted: bool) -> None:
    records = decode_page(body([encoded(record(execution_id))]))
    assert ids(records) == ([execution_id] if is_accepted else [])
    assert len(records.rejected) == (0 if is_accepted else 1)


def test_numeric_id_becomes_its_digits() -> None:
    assert the_only(body([b'{"executionId": 12345678901234567890}'])).id == "12345678901234567890"


@pytest.mark.parametrize(
    ("value", "time", "has_stopped"),
    [
        (b'"2026-11-02T12:00:00.000Z"', NOON, True),
        (b'"2026-11-02T13:00:00+01:00"', NOON, True),
        (b'"2026-11-02T12:00:00"', NOON, True),
        (b"1793620800", NOON, True),
        (b"1793620800000", NOON, True),
        (b"1793620800000.0", NOON, True),
        (b'{"$date": "2026-11-02T12:00:00Z"}', NOON, True),
        # An unreadable stop counts as a stop. Otherwise the run would be open until it is given up.
        (b'"yesterday"', None, True),
        (b"1e300", None, True),
        (b"-1e300", None, True),
        (b"{}", None, True),
        (b"null", None, False),
        (b'""', None, False),
        (b'"N/A"', None, False),
        (b'"0001-01-01T00:00:00+23:59"', None, False),
        (b'"1970-01-01T00:00:00Z"', None, False),
        (b"0", None, False),
    ],
)
def test_stop_is_read_in_every_form(value: bytes, time: datetime | None, has_stopped: bool) -> None:
    execution = the_only(body([with_field(record(), "stoppedAt", value)]))
    assert (execution.stop, execution.has_stopped) == (time, has_stopped)
    assert execution.start == STARTED


@pytest.mark.parametrize("name", ["completedAt", "finishedAt", "endedAt", "stopTime", "endTime"])
def test_stop_under_another_name_is_read(name: str) -> None:
    listed = {"executionId": "e", "startTime": "2026-11-02T11:59:58.500Z", name: "2026-11-02T12:00:00Z"}
    execution = the_only(body([encoded(listed)]))
    assert (execution.start, execution.stop) == (STARTED, NOON)


def test_status_of_another_type_is_no_success() -> None:
    assert the_only(body([with_field(record(), "status", b"7")])).status == "7"
    assert the_only(body([with_field(record(), "finished", b'"true"')])).finished is None


def test_time_with_any_offset_is_in_utc() -> None:
    execution = the_only(body([with_field(record(), "startedAt", b'"2026-11-02T13:00:00+01:00"')]))
    assert execution.start is not None
    assert execution.start.tzinfo == UTC


def test_excessive_nesting_leaves_the_record_readable() -> None:
    deep = b'[{"error": ' + b"[" * EXCESSIVE_DEPTH + b"]" * EXCESSIVE_DEPTH + b"}]"
    execution = the_only(body([with_field(record("deep"), "results", deep)]))
    assert (execution.id, b"nested too deep" in msgspec.json.encode(decode_tree(execution.results))) == ("deep", True)
