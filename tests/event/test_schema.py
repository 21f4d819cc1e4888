"""The JSON Schema of the detail, which is part of the product."""

import json

import jsonschema
import pytest

from forwarder.demo.sample_data import product_page_sample
from forwarder.event.schema import schema
from tests.event.closed_schema import closed_schema
from tests.event.test_truncate import a_detail

DATAREF = {"bucket": "failures", "key": "2026/11/02/e-1.json", "size": 300_000, "sha256": "0f" * 32}
TRIMMED = {"shed": [], "originalBytes": 1, "extra": 1}


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
        {"durationMs": -1},
        {"error": {"name": "n"}},
        {"trimmed": {"shed": ["anything"], "originalBytes": 1}},
        {"executionId": 7},
        {"dataref": {"bucket": "b", "key": "k", "size": 1}},
        {"dataref": {**DATAREF, "size": 0}},
        {"dataref": {**DATAREF, "sha256": "x"}},
        {"forwarder": {"version": "0", "observedAt": "2026-11-02T12:00:00.000Z"}},
        {"forwarder": a_detail()["forwarder"] | {"idempotencyKey": "e-1"}},
    ],
)
def test_detail_with_wrong_value_is_invalid(invalid: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(a_detail(**invalid), schema())


@pytest.mark.parametrize("added", [{"extra": 1}, {"error": {"message": "m", "extra": 1}}, {"trimmed": TRIMMED}])
def test_unknown_field_is_valid_and_not_ours(added: dict[str, object]) -> None:
    """Consumers get an open schema. The closed one shows an unintended new field of the forwarder."""
    jsonschema.validate(a_detail(**added), schema())
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        jsonschema.validate(a_detail(**added), closed_schema())


def test_reference_to_a_whole_payload_is_valid() -> None:
    jsonschema.validate(a_detail(dataref=DATAREF), closed_schema())


def test_schema_states_the_rule_for_new_fields() -> None:
    assert "fields are only added" in schema()["description"]
    assert "additionalProperties" not in json.dumps(schema())


def test_sample_of_the_product_page_is_no_detail() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(product_page_sample()), schema())
