"""The preparation of the standard streams, so that no character can make the output of a command fail."""

import codecs
import os
import sys
from typing import TextIO

_REPLACEMENTS = {
    "✓": "ok",
    "✗": "FAILED",
    "…": "...",
    "–": "-",
    "—": "-",
    "→": "->",
    "×": "x",
    "·": "-",
    "━": "-",
    "╸": "-",
    "╺": "-",
}
"""The non-ASCII characters that the program prints, and their replacements in an encoding that lacks them."""

_HANDLER = "forwarder.terminal"


def prepare_streams() -> None:
    """Make standard output and standard error accept every character, whatever their encoding.

    A character that the encoding lacks is replaced. A stream that was closed before the start discards all output.
    """
    codecs.register_error(_HANDLER, _replace)
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def discard_output() -> None:
    """Discard all later output to standard output, which cannot be written.

    Otherwise the flush at the end of the process would fail again.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # it lasts as long as the process
    if hasattr(stream, "reconfigure"):  # a stream that a test or a debugger has put there may be of another kind
        stream.reconfigure(errors=_HANDLER)
    return stream


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(_REPLACEMENTS.get(character, "?") for character in characters), error.end
