"""The classification of executions. The order of its rules matters."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR
from typing import Self

import msgspec

from forwarder.alloy.json_tree import decode_tree
from forwarder.event.block_errors import failed_blocks
from forwarder.model import EARLIEST_YEAR, Classification, Execution
from forwarder.settings.sections import SourceSettings

_NULL = msgspec.Raw(b"null")
_EMPTY_VALUES = frozenset({b"", b"null", b'""', b"{}", b"[]", b"false"})

ERROR_KEY, BACKSLASH, UNICODE_ESCAPE = b'"error"', b"\\", b"\\u00"
"""The usual spelling of the key of a block's error, and two parts that every other spelling in JSON contains.

The search for BACKSLASH, one byte, is ten times as fast as the search for UNICODE_ESCAPE.
"""

FAILED_STATUS, BLOCK_STATUS = b'"failed"', b"xecutionStatus"
"""Parts of every block that failed without an error object."""

FAILURE_MESSAGE = "executionError"

_NON_EMPTY_ERROR = re.compile(rb'"error"(?!\s*+:\s*+(?:null|false|""|\{\s*+\}|\[\s*+\])\s*+[,}])')
"""An error that is not empty. Most results have none, and need no decoding."""

MAX_UNKNOWN_STATUSES = 100


@dataclass(frozen=True, slots=True)
class Classifier:
    """The classification for one set of settings. All statuses are in lower case."""

    failure: Collection[str]
    success: Collection[str]
    running: Collection[str]
    forward_unknown: bool
    success_only: frozenset[str]
    """Statuses that are in `success` and in no other list."""
    _unknown_statuses: set[str] = field(default_factory=set)

    @classmethod
    def from_settings(cls, settings: SourceSettings) -> Self:
        failure, success, running = (
            frozenset(statuses)
            for statuses in (settings.failure_statuses, settings.success_statuses, settings.running_statuses)
        )
        forward_unknown = settings.unknown_status == "forward"
        return cls(failure, success, running, forward_unknown, success_only=success - failure - running)

    def skip_obvious_successes(self, executions: Sequence[Execution]) -> list[Execution]:
        """Return the executions except those that `classify` certainly classifies as SUCCEEDED.

        The filter is one expression, because a call for each execution would take longer than decoding the execution.
        """
        success = self.success_only
        return [
            execution
            for execution in executions
            if (execution.error and execution.error != _NULL)
            or execution.message is not None
            or execution.stopped_at is None
            or not EARLIEST_YEAR <= execution.stopped_at.year < MAXYEAR
            or not (
                execution.status in success
                or (
                    execution.status is None
                    and execution.finished
                    and ERROR_KEY not in (results := bytes(execution.results))
                    and FAILED_STATUS not in results
                    and BLOCK_STATUS not in results
                    and (BACKSLASH not in results or UNICODE_ESCAPE not in results)
                )
            )
        ]

    def classify(self, execution: Execution) -> Classification:
        """Return whether an execution runs, failed or succeeded, or UNKNOWN if the record does not show it."""
        status = (execution.status or "").strip().lower()
        if status in self.failure or has_error(execution) or execution.message == FAILURE_MESSAGE:
            return Classification.FAILED
        if not execution.has_stopped or status in self.running:
            # The platform may still retry a failed block, or the workflow may handle its error.
            return Classification.RUNNING
        if status in self.success:
            return Classification.SUCCEEDED
        if has_block_error(execution):
            return Classification.FAILED
        if execution.finished is True and not status:
            return Classification.SUCCEEDED
        return Classification.UNKNOWN

    def is_new_status(self, status: str) -> bool:
        """Return True for the first call with an unknown status, for up to MAX_UNKNOWN_STATUSES statuses."""
        if status in self._unknown_statuses or len(self._unknown_statuses) >= MAX_UNKNOWN_STATUSES:
            return False
        self._unknown_statuses.add(status)
        return True


def has_error(execution: Execution) -> bool:
    return _is_not_empty(execution.error)


def _is_not_empty(raw: msgspec.Raw) -> bool:
    """Return whether JSON is more than an empty value. Whitespace does not count."""
    if not raw:
        return False
    text = bytes(raw).strip()
    return (b"".join(text.split()) if text[:1] in (b"{", b"[") else text) not in _EMPTY_VALUES


def has_block_error(execution: Execution) -> bool:
    """Return whether any block, run or item failed, at any depth. Results that cannot be decoded have no error."""
    raw = execution.results
    text = bytes(raw)
    # Most results have no such part, and a search is much faster than decoding.
    if (
        _NON_EMPTY_ERROR.search(text) is None
        and UNICODE_ESCAPE not in text
        and FAILED_STATUS not in text
        and BLOCK_STATUS not in text
    ):
        return False
    return next(failed_blocks(decode_tree(raw)), None) is not None
