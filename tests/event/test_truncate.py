"""A detail of any content is truncated to its limit, and names the removed parts."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.event.idempotency import idempotency_key
from forwarder.event.truncate import (
    LONG_STRING_BYTES,
    SHEDDABLE,
    SHORT_STRING_BYTES,
    fit,
    fit_encoded,
    max_detail_bytes,
    truncate_text,
)
from forwarder.intake.oversize import PayloadReference, refer
from tests.event.closed_schema import closed_schema
from tests.factories import examples, texts, trees

VALIDATOR = jsonschema.Draft202012Validator(closed_schema())
MIN_DETAIL_BYTES = max_detail_bytes("s" * 256, "t" * 128, 16_384)

# Small trees with a few repeated strings and lists need truncation without megabytes of random data.
long_texts = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 50, 700, 5000]))
large = long_texts | st.builds(
    lambda item, times, is_object: {str(number): item for number in range(times)} if is_object else [item] * times,
    trees | st.lists(trees | long_texts, max_size=2),
    st.sampled_from([1, 3, 40, 400]),
    st.booleans(),
)
blocks = st.fixed_dictionaries({"blockId": texts}, optional={"data": large, "error": large, "more": large})
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=250)


def a_detail(**fields: Any) -> dict[str, Any]:
    return {
        "version": "1",
        "executionId": "e-1",
        "workflowId": "w-1",
        "status": "failed",
        "startedAt": None,
        "stoppedAt": "2026-11-02T12:00:00.000Z",
        "durationMs": None,
        "error": {"message": "no stock"},
        "forwarder": {
            "version": "0.1.0",
            "observedAt": "2026-11-02T12:00:00.000Z",
            "idempotencyKey": idempotency_key("e-1", 1),
        },
        **fields,
    }


details = st.builds(
    a_detail,
    executionId=ids,
    workflowId=ids,
    userId=ids,
    status=st.none() | long_texts,
    error=st.fixed_dictionaries(
        {"message": long_texts}, optional=dict.fromkeys(("name", "code", "stack", "blockId"), long_texts)
    ),
    results=large | st.lists(blocks, max_size=4),
)
limits = st.sampled_from([MIN_DETAIL_BYTES, MIN_DETAIL_BYTES + 1, 20_000, 65_536, 262_087])


@given(details, limits)
@examples(150)
def test_any_detail_fits_and_names_the_removed_parts(detail: dict[str, Any], max_bytes: int) -> None:
    whole = len(json.dumps(detail, ensure_ascii=False, separators=(",", ":")).encode())
    fitted = fit(detail, max_bytes)
    assert len(fitted) <= max_bytes
    result = json.loads(fitted)
    VALIDATOR.validate(result)
    assert [result[name] for name in ("executionId", "workflowId", "userId")] == [
        detail[name] for name in ("executionId", "workflowId", "userId")
    ]
    if result == json.loads(json.dumps(detail)):
        assert "trimmed" not in result
    else:
        assert whole > max_bytes - 100  # floats may be written shorter than Python's json writes them
        assert result["trimmed"]["originalBytes"] > max_bytes
        assert result["trimmed"]["shed"] == list(SHEDDABLE[: len(result["trimmed"]["shed"])]) != []


@given(details, limits)
@examples(100)
def test_second_truncation_changes_nothing(detail: dict[str, Any], max_bytes: int) -> None:
    fitted = fit(detail, max_bytes)
    assert fit_encoded(fitted, max_bytes) == fitted
    assert fit(json.loads(fitted), max_bytes) == fitted


@given(details)
@examples(60)
def test_truncation_to_a_lower_limit_keeps_the_original_size(detail: dict[str, Any]) -> None:
    first, second = json.loads(fit(detail, 65_536)), json.loads(fit_encoded(fit(detail, 65_536), MIN_DETAIL_BYTES))
    VALIDATOR.validate(second)
    if "trimmed" in first:
        assert second["trimmed"]["originalBytes"] == first["trimmed"]["originalBytes"]
        assert set(second["trimmed"]["shed"]) >= set(first["trimmed"]["shed"])


def shed(detail: dict[str, Any], max_bytes: int = 16_000) -> tuple[list[str], dict[str, Any]]:
    result = json.loads(fit(detail, max_bytes))
    return result["trimmed"]["shed"], result


FAILED = {"blockId": "b-2", "error": "x", "data": "failed"}


def test_data_of_other_blocks_is_removed_first() -> None:
    other, failed = "o" * 20_000, "f" * 20_000
    steps, result = shed(a_detail(results=[{"blockId": "b-1", "data": other}, FAILED]))
    assert (steps, result["results"]) == (["data of other blocks"], [{"blockId": "b-1"}, FAILED])
    steps, result = shed(a_detail(results=[{"blockId": "b-1", "data": other}, {**FAILED, "data": failed}]))
    assert (steps, result["results"]) == (list(SHEDDABLE[:2]), [{"blockId": "b-1"}, {"blockId": "b-2", "error": "x"}])


def test_order_is_long_strings_then_stack_then_results() -> None:
    stack = "s" * 9000
    steps, result = shed(a_detail(error={"message": "m" * 20_000, "stack": stack}))
    assert (steps, result["error"]["stack"]) == (list(SHEDDABLE[:3]), stack)
    assert result["error"]["message"].startswith("m" * 4000)
    steps, result = shed(a_detail(error={"message": "m", "stack": "s" * 20_000}, results=[FAILED]))
    assert (steps, result["error"], len(result["results"])) == (list(SHEDDABLE[:4]), {"message": "m"}, 1)


def test_last_steps_leave_result_count_and_short_strings() -> None:
    results = [{"blockId": "b", "error": "x", "more": [["m"] * 300] * 20}] * 7
    steps, result = shed(a_detail(error={"message": "m" * 20_000}, results=results))
    assert (steps, result["results"]) == (list(SHEDDABLE), 7)
    assert len(result["error"]["message"]) <= SHORT_STRING_BYTES


def test_results_of_another_shape_count_as_one() -> None:
    _, result = shed(a_detail(results={str(number): "x" for number in range(5000)}))
    assert result["results"] == 1


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([1, 3000]),
    st.sampled_from([100, SHORT_STRING_BYTES, LONG_STRING_BYTES]),
)
@examples(200)
def test_truncated_text_fits_and_names_its_missing_length(text: str, times: int, limit: int) -> None:
    text *= times
    result = truncate_text(text, limit)
    assert len(json.dumps(result, ensure_ascii=False).encode()) <= limit
    if result != text:
        kept, _, rest = result.rpartition("… [")
        assert text.startswith(kept)
        assert rest == f"{len(text) - len(kept)} characters more]"


@pytest.mark.parametrize("character", ["\x01", "🫖", "a", "\\", '"', "\ud7ff"])
def test_text_of_one_character_is_truncated_at_the_limit(character: str) -> None:
    result = truncate_text(character * 1_000_000, SHORT_STRING_BYTES)
    size = len(json.dumps(result, ensure_ascii=False).encode())
    assert SHORT_STRING_BYTES - 16 <= size <= SHORT_STRING_BYTES


@examples(50)
@given(trees, st.integers(0, 3))
def test_reference_to_the_whole_detail_is_never_removed(results: Any, times: int) -> None:
    """A lower limit at publishing removes other parts."""
    bucket, key = "b" * 63, "p" * 200 + "2026/11/02/" + "0" * 32 + "-" + "1" * 16 + ".json"
    reference = PayloadReference(bucket, key, 70_000, "2" * 64)
    detail = {"executionId": "e", "workflowId": "w", "error": {"message": "m" * 9000}, "forwarder": {}}
    encoded = json.dumps({**detail, "results": [results] * (1 + times), "padding": "x" * 60_000}).encode()
    referring = refer(encoded, reference, 30_000)
    assert len(referring) <= 30_000
    for limit in (20_000, MIN_DETAIL_BYTES):
        shorter = fit_encoded(referring, limit)
        assert len(shorter) <= limit
        assert json.loads(shorter)["dataref"] == reference.to_json()
        assert json.loads(shorter)["trimmed"]["originalBytes"] == len(encoded)
