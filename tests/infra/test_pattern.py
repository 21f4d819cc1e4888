"""The matcher of patterns agrees with the user guide, and with moto's matcher as far as that is correct."""

from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.infra.pattern import UnsupportedOperatorError, matches

EVENT: dict[str, Any] = {
    "source": "alloy.embedded",
    "detail": {
        "workflowId": "orders",
        "durationMs": 300,
        "userId": None,
        "finished": False,
        "path": "a*b/c",
        "tags": ["one", "two"],
        "error": {"message": "The Shop's API answered 503\n"},
        "results": [{"blockId": "a", "error": "first"}, {"blockId": "b", "ok": True}],
    },
}

CASES: list[tuple[bool, dict[str, Any]]] = [
    (True, {"source": ["alloy.embedded"]}),
    (False, {"source": ["alloy"]}),
    (True, {"source": ["other", "alloy.embedded"]}),
    (False, {"source": ["alloy.embedded"], "detail": {"workflowId": ["refunds"]}}),
    (False, {"nowhere": ["alloy.embedded"]}),
    (True, {"detail": {"userId": [None]}}),
    (False, {"detail": {"nowhere": [None]}}),
    (True, {"detail": {"finished": [False]}}),
    (True, {"detail": {"tags": ["two", "three"]}}),
    (False, {"detail": {"tags": ["three"]}}),
    (True, {"detail": {"workflowId": [{"prefix": "ord"}]}}),
    (True, {"detail": {"workflowId": [{"prefix": {"equals-ignore-case": "ORD"}}]}}),
    (True, {"detail": {"workflowId": [{"suffix": "ers"}]}}),
    (False, {"detail": {"workflowId": [{"suffix": "ord"}]}}),
    (True, {"detail": {"workflowId": [{"equals-ignore-case": "ORDERS"}]}}),
    (True, {"detail": {"workflowId": [{"wildcard": "o*r*s"}]}}),
    (False, {"detail": {"workflowId": [{"wildcard": "o*x"}]}}),
    (True, {"detail": {"path": [{"wildcard": "a\\*b*"}]}}),
    (False, {"detail": {"workflowId": [{"wildcard": "o\\*s"}]}}),
    (True, {"detail": {"workflowId": [{"anything-but": "refunds"}]}}),
    (False, {"detail": {"workflowId": [{"anything-but": ["refunds", "orders"]}]}}),
    (False, {"detail": {"workflowId": [{"anything-but": {"prefix": "ord"}}]}}),
    (False, {"detail": {"nowhere": [{"anything-but": "x"}]}}),
    (True, {"detail": {"durationMs": [{"numeric": [">", 100, "<=", 300]}]}}),
    (False, {"detail": {"durationMs": [{"numeric": ["<", 300]}]}}),
    (False, {"detail": {"workflowId": [{"numeric": ["<", 300]}]}}),
    (True, {"detail": {"workflowId": [{"exists": True}]}}),
    (True, {"detail": {"nowhere": [{"exists": False}]}}),
    (False, {"detail": {"userId": [{"exists": False}]}}),
    (True, {"$or": [{"source": ["x"]}, {"detail": {"tags": ["one"]}}]}),
    (False, {"$or": [{"source": ["x"]}, {"source": ["y"]}]}),
]

WRONG_ON_MOTO: list[tuple[bool, dict[str, Any]]] = [
    (True, {"detail": {"results": {"blockId": ["b"]}}}),
    (False, {"detail": {"results": {"blockId": ["b"], "error": [{"exists": True}]}}}),
    (True, {"detail": {"results": {"blockId": ["a"], "error": [{"exists": True}]}}}),
    (False, {"detail": {"durationMs": [300.0]}}),
    (True, {"detail": {"error": {"message": [{"wildcard": "*API answered*"}]}}}),
]
"""The cases in which moto's matcher is wrong: arrays of objects, numbers as written, and texts of several lines."""


@pytest.mark.parametrize(("expected", "pattern"), CASES + WRONG_ON_MOTO)
def test_pattern_matches_as_documented(expected: bool, pattern: dict[str, Any]) -> None:
    assert matches(pattern, EVENT) is expected


@pytest.mark.parametrize(("expected", "pattern"), CASES)
def test_pattern_matches_as_on_moto(expected: bool, pattern: dict[str, Any]) -> None:
    event: Any = EVENT
    assert EventPattern(None, pattern).matches_event(event) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": [{"cidr": "10.0.0.0/8"}]},
        {"source": [{"regex": "a"}]},
        {"detail": {"tags": [{"anything-but": "x"}]}},
        {"source": "alloy.embedded"},
        {"source": []},
    ],
)
def test_unsupported_operator_raises_an_error(pattern: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOperatorError):
        matches(pattern, EVENT)
