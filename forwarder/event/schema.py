"""The JSON Schema of the event's `detail`. It is part of the product, and versioned with it."""

from typing import Any

from forwarder.event.idempotency import KEY_CHARACTERS
from forwarder.event.truncate import SHEDDABLE

DESCRIPTION = (
    "The detail of an event that reports one failed execution of an Alloy Embedded workflow. "
    "Within version 1, fields are only added. Consumers ignore unknown fields."
)

_TIME = {"type": ["string", "null"], "format": "date-time"}


def schema() -> dict[str, Any]:
    """Return the schema. Its descriptions are shown to the readers of the schema registry."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Workflow Execution Failed",
        "description": DESCRIPTION,
        "type": "object",
        "required": [
            "version",
            "executionId",
            "workflowId",
            "status",
            "startedAt",
            "stoppedAt",
            "error",
            "forwarder",
        ],
        "properties": {
            "version": {"const": "1", "description": "version of this schema"},
            "executionId": {"type": "string", "description": "the id of the execution, and the argument of a rerun"},
            "workflowId": {"type": "string"},
            "userId": {"type": "string", "description": "the user of the feed, if the feed has one"},
            "status": {"type": ["string", "null"], "description": "as in the source; null if the source has none"},
            "startedAt": _TIME,
            "stoppedAt": _TIME,
            "durationMs": {"type": ["integer", "null"], "minimum": 0},
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "message": {"type": "string"},
                    "name": {"type": "string"},
                    "code": {"type": "string"},
                    "description": {"type": "string", "description": "the reason, if the message is a general one"},
                    "cause": {
                        "type": "object",
                        "description": "the error one level below this one",
                        "required": ["message"],
                        "properties": {"message": {"type": "string"}, "code": {"type": "string"}},
                    },
                    "blockId": {"type": "string", "description": "the id of the failed block, else its name"},
                    "stack": {"type": "string"},
                },
            },
            "results": {"description": "the redacted blocks as in the source, or their number if they were removed"},
            "trimmed": {
                "type": "object",
                "description": "the parts that were removed so that the event fits",
                "required": ["shed", "originalBytes"],
                "properties": {
                    "shed": {"type": "array", "items": {"enum": list(SHEDDABLE)}, "uniqueItems": True},
                    "originalBytes": {"type": "integer", "minimum": 1},
                    "largeValues": {
                        "type": "boolean",
                        "description": "true if values were replaced by their length before decoding",
                    },
                },
            },
            "dataref": {
                "type": "object",
                "description": "the S3 object with the whole detail, if the event was too large",
                "required": ["bucket", "key", "size", "sha256"],
                "properties": {
                    "bucket": {"type": "string"},
                    "key": {"type": "string"},
                    "size": {"type": "integer", "minimum": 1, "description": "bytes"},
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                },
            },
            "forwarder": {
                "type": "object",
                "required": ["version", "observedAt", "idempotencyKey"],
                "properties": {
                    "version": {"type": "string"},
                    "observedAt": {"type": "string", "format": "date-time"},
                    "idempotencyKey": {
                        "type": "string",
                        "pattern": f"^[0-9a-f]{{{KEY_CHARACTERS}}}$",
                        "description": "the key for deduplication: equal for every retry, another for each replay",
                    },
                    "replay": {"type": "boolean", "description": "true if the event was sent again on purpose"},
                },
            },
        },
    }
