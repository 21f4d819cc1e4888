"""A block has failed if it says so itself. In data, only items and runs can fail."""

from typing import Any

import pytest

from forwarder.event.block_errors import is_failed_block


@pytest.mark.parametrize("status", ["failed", "ERROR", " timeout "])
@pytest.mark.parametrize("name", ["executionStatus", "status"])
def test_block_with_a_failure_status_has_failed(name: str, status: str) -> None:
    assert is_failed_block({name: status})


@pytest.mark.parametrize(
    "block", [{}, {"status": "success"}, {"status": 500}, {"error": ""}, {"error": None}, "failed", None]
)
def test_block_without_a_failure_has_not_failed(block: Any) -> None:
    assert not is_failed_block(block)


@pytest.mark.parametrize(
    ("block", "has_failed"),
    [
        ({"json": {}, "executionStatus": "failed"}, True),
        ({"blockId": "b", "executionStatus": "success", "status": "failed"}, True),
        ({"json": {}, "error": {"message": "boom"}}, True),
        ({"json": {}, "status": "failed"}, False),
        ({"blockId": "b", "status": "failed"}, False),
        ({"status": "failed"}, False),
        ({"error": "boom"}, False),
    ],
)
def test_customer_data_with_a_failure_status_is_no_failure(block: Any, *, has_failed: bool) -> None:
    """The key `status` of an item is business data unless a run has written it."""
    assert is_failed_block(block, in_data=True) is has_failed


def test_block_named_error_is_not_an_error() -> None:
    run = {"executionStatus": "success", "data": []}
    assert not is_failed_block({"error": run})
    assert not is_failed_block({"error": [run]})
    assert is_failed_block({"error": {**run, "message": "boom"}})
