"""The values of items: Python values and their form in requests to DynamoDB.

Items hold texts, integers, bytes and lists of texts only, so that no number loses digits.
"""

from collections.abc import Mapping
from typing import Any

Value = str | int | bytes | list[str]
Item = Mapping[str, Value]
EncodedItem = dict[str, dict[str, Any]]


def encode(value: Value) -> dict[str, Any]:
    """Return a value as DynamoDB expects it."""
    match value:
        case str():
            return {"S": value}
        case int():
            return {"N": str(int(value))}
        case bytes():
            return {"B": value}
        case list():
            return {"L": [encode(each) for each in value]}
    raise TypeError(f"an item cannot hold a {type(value).__name__}")


def encode_all(values: Mapping[str, Value]) -> EncodedItem:
    """Return the attributes of an item as DynamoDB expects them."""
    return {name: encode(value) for name, value in values.items()}


def decode_all(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes of an item. An attribute of another type is absent."""
    return {name: value for name, encoded in item.items() if (value := _decode(encoded)) is not None}


def _decode(encoded: Mapping[str, Any]) -> Any:
    for kind, value in encoded.items():
        if kind == "N":
            return int(value) if value.lstrip("-").isdigit() else None
        if kind == "B":
            return bytes(value)
        if kind == "L":
            return [_decode(each) for each in value]
        if kind == "S":
            return value
    return None
