"""The errors of the machine or the installation that any code may raise, explained in one line with a hint.

The module imports no third-party module, because it explains why they cannot be imported.
"""

import os

from forwarder.errors import ForwarderError, SettingsError

NO_THREAD = "can't start new thread"
"""The message of the RuntimeError that every supported Python raises if the system refuses another thread."""

OPTIONAL_MODULES = {
    "_sqlite3": "libsqlite3-dev",
    "_ssl": "libssl-dev",
    "ssl": "libssl-dev",
    "_hashlib": "libssl-dev",
    "_ctypes": "libffi-dev",
    "zlib": "zlib1g-dev",
}
"""Optional modules of the standard library, with the Debian packages that are needed to build them."""

KEY_LOG_VARIABLE = "SSLKEYLOGFILE"
"""The variable of the file to which Python adds the keys of each TLS connection. It opens the file for each context."""

CRYPTOGRAPHY_ERRORS = ("SSLError", "UnsupportedDigestmodError")
"""The names of the exceptions for a missing function of OpenSSL.

Their classes cannot be used here, because the import of ssl or hashlib may fail. `network_errors.py` explains the
SSLError of a connection.
"""


def machine_error(error: BaseException) -> ForwarderError | None:
    """Return an explanation of an error of the machine or the installation, or None for another error."""
    match error:
        case ImportError():
            return _import_error(error)
        case RuntimeError() if NO_THREAD in str(error):
            return ForwarderError(
                "no more threads can be started: a limit on processes or memory is reached",
                hint="raise TasksMax of the unit, the pids limit of the container, `ulimit -u` or `ulimit -v`",
            )
        case MemoryError():
            return ForwarderError(
                "out of memory",
                hint="raise the memory limit of the container or unit, or `ulimit -v`; at least 256 MiB are needed",
            )
        case OSError() | ValueError() if type(error).__name__ in CRYPTOGRAPHY_ERRORS:
            return ForwarderError(
                f"this machine's OpenSSL lacks a required function: {error}",
                hint="check OPENSSL_CONF and the system's crypto policy: FIPS mode needs the FIPS provider of OpenSSL",
            )
        case OSError():
            return key_log_error(error)
    return None


def key_log_error(error: OSError) -> SettingsError | None:
    """Return an explanation if the file that KEY_LOG_VARIABLE names cannot be opened, or None for another error."""
    path = os.environ.get(KEY_LOG_VARIABLE)
    if not path or str(error.filename) != path:
        return None
    return SettingsError(
        f"{KEY_LOG_VARIABLE} names {path}, which cannot be written: {error.strerror}",
        hint=f"unset {KEY_LOG_VARIABLE}, or name a file that the forwarder can write",
    )


def _import_error(error: ImportError) -> ForwarderError:
    name = (error.name or "").partition(".")[0]
    if package := OPTIONAL_MODULES.get(name):
        return ForwarderError(
            f"this Python was built without its module {name}",
            hint=f"use the Python of the system, of uv or of the image; or install {package} and build it again",
        )
    return ForwarderError(
        f"the installation of the forwarder cannot be loaded: {error}",
        hint="install it again with the Python that runs it, on this machine: `pip install --force-reinstall`, in an"
        " environment of its own; PYTHONPATH must not name another environment",
    )
