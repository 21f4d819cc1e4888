"""The JSON Schema of the detail, which is part of the product."""

import json

import jsonschema
import pytest

from forwarder.demo.sample_data import product_page_sample
from forwarder.event.schema import schema
from tests.event.test_truncate import a_detail


def test_schema_is_valid_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("missing", sorted(set(a_detail()) - {"durationMs"}))
def test_detail_without_required_field_is_invalid(missing: str) -> None:
    detail = {name: value for name, value in a_detail().items() if name != missing}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(detail, schema())


@pytest.mark.parametrize(
    "invalid",
    [
        {"version": "2"},
        {"extra": 1},
        {"durationMs": -1},
        {"error": {"name": "n"}},
        {"error": {"message": "m", "extra": 1}},
        {"trimmed": {"shed": ["anything"], "originalBytes": 1}},
        {"executionId": 7},
    ],
)
def test_detail_with_wrong_value_is_invalid(invalid: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(a_detail(**invalid), schema())


def test_sample_of_the_product_page_is_no_detail() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(product_page_sample()), schema())
