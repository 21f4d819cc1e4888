"""Logs: one line for a unit of work, on standard error, for a person or a machine; never a secret."""

import logging
import sys
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries say at a lower level what they send, signatures included: that is nobody's business.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("asyncio").setLevel(logging.ERROR)


_redactor = Redactor()


class _Scrubbed(logging.Formatter):
    """What libraries log goes through the same wall."""

    def format(self, record: logging.LogRecord) -> str:
        return _redactor.text(super().format(record))


def _scrub(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The last wall: what others put into an error's text is redacted by its shape."""
    return {key: _redactor.text(value) if isinstance(value, str) else value for key, value in event.items()}
