"""The reload of certificates and keys when their files change, as certbot and cert-manager change them.

A new connection uses the new content. If files cannot be used, such as a certificate whose key has not been written
yet, they are reported, and the last valid content stays in use.
"""

import math
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from forwarder.clock import Clock
from forwarder.errors import SettingsError
from forwarder.metrics import Metrics
from forwarder.settings.watch import RETRY_SECONDS, FileWatch
from forwarder.web.request_errors import Problem

log = structlog.get_logger("web")

T = TypeVar("T")


@dataclass(slots=True)
class ReloadingValue(Generic[T]):
    """A value that is read from files, and read again when they change. `name` names the files in the log.

    `read` returns the value, or raises SettingsError.
    """

    name: str
    files: Sequence[Path]
    read: Callable[[], T]
    current: T = field(init=False)
    _watch: FileWatch = field(init=False)

    def __post_init__(self) -> None:
        """Read the files for the first time. Raise SettingsError if they are invalid."""
        self._watch = FileWatch(self.files)  # before they are read, so that no change is missed
        self.current = self.read()

    async def watch_files(self, clock: Clock, metrics: Metrics) -> None:
        """Read the files again whenever they change, until cancelled. Log a failure, keep the last value, and retry."""
        last_error = ""
        while True:
            await self._watch.changed(clock, or_after_seconds=RETRY_SECONDS if last_error else math.inf)
            try:
                self.current = self.read()
            except SettingsError as error:
                if error.message != last_error:
                    metrics.count_web_request_error(Problem.FILE_RELOAD)
                    log.error(  # noqa: TRY400  # a person corrects this, and a traceback would not help
                        "invalid files, keeping previous", files=self.name, reason=error.message, hint=error.hint
                    )
                last_error = error.message
            else:
                last_error = ""
                log.info("files reloaded", files=self.name)


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS context with this certificate and key. Raise SettingsError if they are invalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for file in (cert, key):
            if not file.is_file():  # opening a pipe would wait for its other end
                file.stat()
                raise SettingsError(f"web.tls_cert {cert} and web.tls_key {key} cannot be used: {file} is no file")
        context.load_cert_chain(cert, key, password="")  # a sealed key fails, where it would ask on a terminal
    except OSError as error:  # which ssl.SSLError is, too
        raise SettingsError(
            f"web.tls_cert {cert} and web.tls_key {key} cannot be used: {error.strerror or type(error).__name__}",
            hint="they are PEM files of a certificate and of the key to it, without a password",
        ) from None
    return context
