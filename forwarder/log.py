"""The logs: one line per unit of work on standard error, as text or JSON. No line holds a secret."""

import atexit
import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from forwarder.log_stream import LogStream, finish
from forwarder.printable import printable
from forwarder.redaction import Redactor
from forwarder.settings.local_sections import RunSettings
from forwarder.systemd import prioritized

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(settings: RunSettings) -> None:
    """Configure structlog and the standard library's logging. It may be called again after a change of settings."""
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if is_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    first_processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last_processors: list[Processor] = [
        structlog.processors.format_exc_info,
        _remove_empty_hint,
        _redact_event,
        _prioritize(renderer),
    ]
    structlog.configure(
        processors=[*first_processors, *last_processors],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, LogStream())),
        cache_logger_on_first_use=False,
    )
    # At lower levels, libraries log the requests that they send, including signatures.
    handler = logging.StreamHandler(LogStream())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first_processors, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last_processors],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    atexit.unregister(finish)  # an earlier call registered it
    atexit.register(finish)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # The AWS SDKs log a traceback for each failure, and also raise it. The forwarder reports it in one line.
    for sdk in ("botocore", "aiobotocore"):
        logging.getLogger(sdk).setLevel(logging.CRITICAL)


def audit() -> Any:
    """Return a logger that ignores the configured level. Changes by a person are always logged."""
    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


def _prioritize(renderer: Processor) -> Processor:
    """Return a renderer of lines that have a priority for the journal."""

    def render(logger: Any, method: str, event: EventDict) -> str:
        level = str(event["level"])  # some renderers remove it
        return prioritized(str(renderer(logger, method, event)), level)

    return render


def _remove_empty_hint(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Remove the hint of an error that has none."""
    if event.get("hint") == "":
        del event["hint"]
    return event


_redactor = Redactor()

_EXCEPTION = "exception"
"""The key of a traceback. It is the only value that may contain line breaks."""


def _redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Return the event without secrets, and without characters that could forge or disguise a line."""
    return {key: _redacted(value, keep="\n" if key == _EXCEPTION else "") for key, value in event.items()}


def _redacted(value: Any, keep: str = "") -> Any:
    match value:
        case str():
            return printable(_redactor.text(value), keep=keep)
        case Mapping():
            return {_redacted(name): _redacted(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case _:
            return value
