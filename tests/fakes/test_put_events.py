"""The rules of `PutEvents`, at their limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.put_events import entry_bytes, entry_refusal, is_detail, request_refusal

GOOD = {"Source": "alloy.embedded", "DetailType": "Workflow Execution Failed", "Detail": "{}"}


def code_of(entry: dict[str, Any]) -> str | None:
    refused = entry_refusal(GOOD | entry)
    return refused.code if refused else None


def request_code(*entries: dict[str, Any], limit: int = 1000) -> str | None:
    refused = request_refusal({"Entries": list(entries)}, max_request_bytes=limit)
    return refused.code if refused else None


def test_entry_size_is_utf8_bytes_and_fourteen_for_a_time() -> None:
    entry = {"Source": "é", "DetailType": "t", "Detail": "{}", "Resources": ["ab", "c"], "EventBusName": "no"}
    assert entry_bytes(entry) == 2 + 1 + 2 + 3
    assert entry_bytes(entry | {"Time": 0.0}) == 8 + 14


def test_request_has_one_to_ten_entries_within_the_limit() -> None:
    assert request_code() == "ValidationException"
    assert request_code(*[GOOD] * 10) is None
    assert request_code(*[GOOD] * 11) == "ValidationException"
    assert request_code(GOOD, limit=entry_bytes(GOOD)) is None
    assert request_code(GOOD, limit=entry_bytes(GOOD) - 1) == "ValidationException"


@pytest.mark.parametrize("entry", [{"EventBusName": "b" * 1601}, {"EventBusName": "a bus"}, {"TraceHeader": "t" * 501}])
def test_limit_of_the_model_refuses_the_whole_request(entry: dict[str, Any]) -> None:
    assert request_code(GOOD, GOOD | entry, limit=9999) == "ValidationException"


@pytest.mark.parametrize("entry", [{"Detail": {}}, {"Time": "today"}, {"Resources": "r"}, {"Resources": [1]}])
def test_wrong_type_is_a_serialization_error(entry: dict[str, Any]) -> None:
    assert request_code(GOOD | entry) == "SerializationException"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({}, None),
        ({"Source": ""}, "InvalidArgument"),
        ({"Source": "aws.mine"}, "NotAuthorizedForSourceException"),
        ({"DetailType": ""}, "InvalidArgument"),
        ({"DetailType": "t" * 128}, None),
        ({"DetailType": "t" * 129}, "InvalidArgument"),
        ({"Detail": ""}, "InvalidArgument"),
        ({"Detail": "[]"}, "MalformedDetail"),
        ({"Resources": ["r" * 2048]}, None),
        ({"Resources": ["r" * 2049]}, "InvalidArgument"),
    ],
)
def test_invalid_entry_has_its_own_code(entry: dict[str, Any], code: str | None) -> None:
    assert code_of(entry) == code


@pytest.mark.parametrize(
    "detail",
    [
        ' {"a": [1, -2.5e3, true, null, {"b": ["\\u00e9", "é🫖", "\\"{["]}], "": {}} ',
        '{"n": 9223372036854775807, "m": -9223372036854775808}',
        '{"f": 12345678901234567890.5, "g": 1e400, "h": 1e-400}',
        '{"a":' * 999 + "{}" + "}" * 999,
        '{"a":' + "[" * 999 + "]" * 999 + "}",
    ],
)
def test_detail_that_is_a_json_object_is_valid(detail: str) -> None:
    assert is_detail(detail)


@pytest.mark.parametrize(
    "detail",
    [
        "null",
        "{} {}",
        '{"a": 1,}',
        '{"a": 01}',
        '{"a": NaN}',
        '{"a": "\n"}',
        '{"a" 1}',
        "{a: 1}",
        '{"a": [1}',
        '{"a": "',
        '{"n": 9223372036854775808}',
        f'{{"n": {"9" * 5000}}}',
        '{"a": "\ud800"}',
        '{"a":' * 1000 + "{}" + "}" * 1000,
        '{"a":' + "[" * 1000 + "]" * 1000 + "}",
    ],
)
def test_detail_of_other_content_is_malformed(detail: str) -> None:
    assert not is_detail(detail)
