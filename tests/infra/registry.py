"""The event's schema in the template's registry. `python -m tests.infra.registry` writes it into bus.yaml."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from forwarder.event.schema import schema

BUS_TEMPLATE = Path(__file__).parents[2] / "infra" / "bus.yaml"

_CONTENT = re.compile(r"(?<=      Content: >-\n)(?: {8}.*\n)+")
_TEXT = {"type": "string"}


def registered_schema() -> dict[str, Any]:
    """Return the schema of the whole event, in the draft of JSON Schema that EventBridge's registry accepts."""
    detail = _draft_4(schema())
    del detail["$schema"]
    properties = {
        "version": _TEXT,
        "id": _TEXT,
        "detail-type": _TEXT,
        "source": _TEXT,
        "account": _TEXT,
        "time": {"type": "string", "format": "date-time"},
        "region": _TEXT,
        "resources": {"type": "array", "items": _TEXT},
        "detail": detail,
    }
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": detail["title"],
        "type": "object",
        "required": sorted(properties),
        "properties": properties,
    }


def _draft_4(node: Any) -> Any:
    """Return an equivalent schema without `const`, which draft 4 does not have."""
    if isinstance(node, list):
        return [_draft_4(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        "enum" if key == "const" else key: [inner] if key == "const" else _draft_4(inner) for key, inner in node.items()
    }


def write() -> None:
    text = textwrap.fill(
        json.dumps(registered_schema()),
        width=118,
        initial_indent=" " * 8,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    BUS_TEMPLATE.write_text(_CONTENT.sub(lambda _: text + "\n", BUS_TEMPLATE.read_text()))


if __name__ == "__main__":
    write()
