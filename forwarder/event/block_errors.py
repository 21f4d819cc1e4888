"""The errors of blocks, at any depth of an execution's results.

Results are a list of blocks, an object of blocks, or either with lists of runs in the place of a block. An error counts
if it is in a block, in a run of a block, or in an item beside its `json`. Payloads belong to the customer: an `error`
inside `json`, or in data without that wrapper, is business data and does not count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FAILURE_STATUSES = frozenset({"error", "errored", "failed", "failure", "crashed", "timeout", "timed_out"})
"""The statuses of a failed block, in lower case. `source.failure_statuses` applies to executions only."""

MAX_LEVELS = 200

_IDS = ("blockId", "connectorId")
_STATUSES = ("executionStatus", "status")
_RUN_MARKS = frozenset({*_IDS, "executionStatus", "executionTime", "blockType"})
_BLOCK_MARKS = _RUN_MARKS | {"id", "data", "status", "error", "startTime", "startedAt", "json"}
_PAYLOADS = frozenset({"json", "binary", "meta", "metadata", "body", "request", "response", "payload", "headers"}) | {
    *("input", "inputs", "inputoverride", "output", "outputs", "params", "parameters", "config", "settings"),
    *("variables", "context", "node", "credentials", "raw", "source", "hints", "paireditem", "error"),
}


@dataclass(frozen=True, slots=True)
class FailedBlock:
    """A block that failed. `name` is its id, else its key or node name. `error` is None if only its status failed."""

    name: str | None
    block: dict[str, Any]
    error: Any


def failed_blocks(results: Any) -> Iterator[FailedBlock]:
    """Yield every failed block, run and item in the order of the document. No recursion is used."""
    stack: list[tuple[Any, str | None, bool, int]] = [(results, None, False, 0)]
    while stack:
        value, name, in_data, level = stack.pop()
        if isinstance(value, list):
            children = [(item, name, in_data) for item in value]
        elif isinstance(value, dict):
            name = _own_name(value) or name
            if is_failed_block(value, in_data=in_data):
                yield FailedBlock(name, value, error if is_set(error := value.get("error")) else None)
            children = _children(value, name, in_data=in_data)
        else:
            continue
        if level < MAX_LEVELS:
            stack.extend((child, key, data, level + 1) for child, key, data in reversed(children))


def is_set(error: object) -> bool:
    """Return whether an error is more than an empty value. Zero counts as an error: it may be a reported exit code."""
    return error is not None and error is not False and error not in ("", {}, [])


def is_failed_block(block: object, *, in_data: bool = False) -> bool:
    """Return whether a block reports its own failure.

    `in_data` is whether the value is inside the `data` of a block. There, only items (with `json`) and runs count.
    """
    if not isinstance(block, dict):
        return False
    if in_data and "json" not in block and not _RUN_MARKS.intersection(block):
        return False
    error = block.get("error")
    if is_set(error) and not _is_a_block(error):
        return True
    if in_data and "executionStatus" not in block:
        return False
    statuses = (block.get(key) for key in _STATUSES)
    return any(isinstance(status, str) and status.strip().lower() in FAILURE_STATUSES for status in statuses)


def _is_a_block(value: Any) -> bool:
    """Return whether the value of a key "error" is a block of that name, or a list of its runs, and not an error."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool(_RUN_MARKS.intersection(first)) and "message" not in first


def _children(value: dict[str, Any], name: str | None, *, in_data: bool) -> list[tuple[Any, str | None, bool]]:
    if in_data and "json" in value:
        return []
    is_block = bool(_BLOCK_MARKS.intersection(value))
    children: list[tuple[Any, str | None, bool]] = []
    for key, child in value.items():
        if not isinstance(child, (dict, list)):
            continue
        if not is_block or (key == "error" and _is_a_block(child)):
            children.append((child, name if in_data else key, in_data))
        elif key.lower() not in _PAYLOADS:
            children.append((child, name, in_data or key == "data"))
    return children


def _own_name(block: dict[str, Any]) -> str | None:
    name = next((block[key] for key in _IDS if block.get(key)), None)
    if name is None:
        node = block.get("node")
        name = node.get("name") if isinstance(node, dict) else node
    return str(name) if isinstance(name, (str, int)) and not isinstance(name, bool) else None
