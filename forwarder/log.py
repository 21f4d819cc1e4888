"""Logs: one line for a unit of work, on standard error, for a person or a machine; never a secret."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from forwarder.redaction import Redactor
from forwarder.settings.fields import RunSettings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(settings: RunSettings) -> None:
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, _scrub, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if is_json
        else [
            structlog.processors.format_exc_info,
            _scrub,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(_Unfailing()),
        cache_logger_on_first_use=False,
    )
    # Libraries say at a lower level what they send, signatures included: that is nobody's business.
    handler = logging.StreamHandler(_Unfailing())
    handler.setFormatter(_Scrubbed("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def audit() -> Any:
    """A log that is written whatever level is set: who did what is never a detail."""
    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


@contextlib.contextmanager
def _unfailing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Nobody will read again; what is left in the buffer must not spoil the exit code at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return


class _Unfailing(io.TextIOWrapper):
    """Standard error; a log that nobody reads any more, or whose disk is full, ends no work."""

    def __init__(self) -> None:
        super().__init__(sys.stderr.buffer, encoding="utf-8", errors="replace", write_through=True)

    def write(self, text: str) -> int:
        with _unfailing():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with _unfailing():
            super().flush()

    def __del__(self) -> None:
        try:  # noqa: SIM105  # as the process ends, `contextlib` and what our flush calls may be gone
            self.detach()  # standard error is not ours to close
        except (OSError, ValueError, TypeError):
            pass


_redactor = Redactor()


class _Scrubbed(logging.Formatter):
    """What libraries log goes through the same wall."""

    def format(self, record: logging.LogRecord) -> str:
        return _redactor.text(super().format(record))


def _scrub(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The last wall: what others put into an error's text is redacted by its shape."""
    return {key: _redactor.text(value) if isinstance(value, str) else value for key, value in event.items()}
