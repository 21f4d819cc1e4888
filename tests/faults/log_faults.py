"""The detection of the forwarder's own faults in its log."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

FAULT_EVENTS: Final = frozenset(
    {"loop failed", "loop stalled", "poll failed", "request failed", "PutEvents request failed"}
)


def faults_in(lines: Sequence[str]) -> Iterator[str]:
    """Yield each line of a log that reports a fault: a traceback, a fault event, or a line that is not JSON."""
    for line in lines:
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            yield line
            continue
        if "exception" in fields or fields["event"] in FAULT_EVENTS:
            yield line


def is_error_message(text: str) -> bool:
    """Return whether the text is the message of a refused start: an error, and optionally a hint."""
    lines = text.splitlines()
    return [line[:6] for line in lines] in (["error:"], ["error:", "hint: "])
