"""The schema of the event, closed, so that an unintended new field of the forwarder fails a test.

Consumers get the open schema, because fields are added within a version.
"""

from typing import Any

from forwarder.event.schema import schema


def closed_schema() -> dict[str, Any]:
    """Return the schema with `additionalProperties: false` in each object whose properties it names."""
    closed: dict[str, Any] = _closed(schema())
    return closed


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(item) for key, item in node.items()}
    return {**closed, "additionalProperties": False} if isinstance(node.get("properties"), dict) else closed
