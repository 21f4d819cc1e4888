"""The JSON Schema of the event's `detail`. It is part of the product, and versioned with it."""

from typing import Any

from forwarder.event.truncate import SHEDDABLE

_TIME = {"type": ["string", "null"], "format": "date-time"}


def schema() -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Workflow Execution Failed",
        "description": "The detail of an event that tells of one failed execution of an Alloy Embedded workflow.",
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
        "additionalProperties": False,
        "properties": {
            "version": {"const": "1", "description": "version of this schema"},
            "executionId": {"type": "string", "description": "the key to deduplicate on, and to rerun by"},
            "workflowId": {"type": "string"},
            "userId": {"type": "string", "description": "of the feed, where it is of one user"},
            "status": {"type": ["string", "null"], "description": "as in the source, which may have none"},
            "startedAt": _TIME,
            "stoppedAt": _TIME,
            "durationMs": {"type": ["integer", "null"], "minimum": 0},
            "error": {
                "type": "object",
                "required": ["message"],
                "additionalProperties": False,
                "properties": {
                    "message": {"type": "string"},
                    "name": {"type": "string"},
                    "code": {"type": "string"},
                    "description": {"type": "string", "description": "the reason, beside a general message"},
                    "cause": {
                        "type": "object",
                        "description": "the error below this one, one level",
                        "required": ["message"],
                        "additionalProperties": False,
                        "properties": {"message": {"type": "string"}, "code": {"type": "string"}},
                    },
                    "blockId": {"type": "string", "description": "the block that failed: its id, else its name"},
                    "stack": {"type": "string"},
                },
            },
            "results": {"description": "the blocks as in the source, redacted; or their number, where they were shed"},
            "trimmed": {
                "type": "object",
                "description": "what was left out so that the event fits",
                "required": ["shed", "originalBytes"],
                "additionalProperties": False,
                "properties": {
                    "shed": {"type": "array", "items": {"enum": list(SHEDDABLE)}, "uniqueItems": True},
                    "originalBytes": {"type": "integer", "minimum": 1},
                    "largeValues": {
                        "type": "boolean",
                        "description": "true if values were replaced by their length before decoding",
                    },
                },
            },
            "forwarder": {
                "type": "object",
                "required": ["version", "observedAt"],
                "additionalProperties": False,
                "properties": {
                    "version": {"type": "string"},
                    "observedAt": {"type": "string", "format": "date-time"},
                    "replay": {"type": "boolean", "description": "true where it was sent again on purpose"},
                },
            },
        },
    }
