"""Errors in the formats of similar engines: the reason is kept, in whichever field it is."""

from typing import Any

import pytest

from forwarder.intake.transform import unredacted_error
from tests.factories import a_failure
from tests.intake.test_transform import detail_of

NODE_API_ERROR = {
    "name": "NodeApiError",
    "message": "Bad request - please check your parameters",
    "description": "email is not valid",
    "httpCode": "400",
    "messages": ['400 - {"field":"email"}'],
    "cause": {"message": "Request failed with status code 400", "code": "ERR_BAD_REQUEST"},
    "node": {"name": "Create customer"},
}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            NODE_API_ERROR,
            {
                "name": "NodeApiError",
                "message": "Bad request - please check your parameters",
                "description": "email is not valid",
                "code": "400",
                "cause": {"message": "Request failed with status code 400", "code": "ERR_BAD_REQUEST"},
                "blockId": "Create customer",
            },
        ),
        ({"message": "m", "statusCode": 429}, {"message": "m", "code": "429"}),
        ({"message": "m", "status": 502}, {"message": "m", "code": "502"}),
        ({"message": "m", "status": "error"}, {"message": "m"}),
        ({"message": "m", "code": "E", "httpCode": 400}, {"message": "m", "code": "E"}),
        ({"message": "m", "cause": "socket hang up"}, {"message": "m", "cause": {"message": "socket hang up"}}),
        ({"message": "m", "cause": {}}, {"message": "m"}),
        (
            {"name": "AggregateError", "message": "", "errors": [{"message": "refused", "code": "ECONNREFUSED"}]},
            {"name": "AggregateError", "message": "refused", "code": "ECONNREFUSED"},
        ),
        ({"message": "", "messages": ["404 - gone"]}, {"message": "404 - gone"}),
        ({"message": "Bad request", "messages": ["no email"]}, {"message": "Bad request", "description": "no email"}),
        (
            {"message": "", "stack": "TypeError: x is null\n    at y"},
            {"message": "TypeError: x is null", "stack": "TypeError: x is null\n    at y"},
        ),
        ({"message": "[object Object]", "description": "no stock"}, {"message": "no stock"}),
        ([{"message": "first"}, {"message": "second"}], {"message": "first"}),
        ({"message": {"message": "inner", "code": 5}}, {"message": "inner", "code": "5"}),
    ],
)
def test_error_keeps_the_fields_with_the_reason(error: Any, expected: dict[str, Any]) -> None:
    assert unredacted_error(a_failure(error=error)) == expected


def test_published_error_has_reason_and_cause() -> None:
    """They are in the event, valid by the schema, and documented."""
    error = detail_of(a_failure(error=NODE_API_ERROR))["error"]
    assert error["description"] == "email is not valid"
    assert error["cause"] == {"message": "Request failed with status code 400", "code": "ERR_BAD_REQUEST"}


def test_truncated_error_keeps_reason_and_cause() -> None:
    long = NODE_API_ERROR | {"description": "d" * 20_000, "cause": "c" * 20_000, "stack": "s" * 20_000}
    error = detail_of(a_failure(error=long), destination={"max_entry_bytes": 16_384})["error"]
    assert error["description"].startswith("ddd")
    assert error["cause"]["message"].startswith("ccc")
