"""Errors of the machine or the installation that Python raises anywhere, as one line with a hint.

It imports no third-party module: it explains why those cannot be imported.
"""

from forwarder.errors import ForwarderError

NO_THREAD = "can't start new thread"
"""The text of Python's RuntimeError, in every supported version."""

OPTIONAL_MODULES = {
    "_sqlite3": "libsqlite3-dev",
    "_ssl": "libssl-dev",
    "ssl": "libssl-dev",
    "_hashlib": "libssl-dev",
    "_ctypes": "libffi-dev",
    "zlib": "zlib1g-dev",
}
"""Modules of the standard library that a Python built from source lacks without these packages (names of Debian)."""

CRYPTOGRAPHY_ERRORS = ("SSLError", "UnsupportedDigestmodError")
"""Names, since importing ssl and hashlib may be what fails. SSLError of a connection never comes this far."""


def machine_error(error: BaseException) -> ForwarderError | None:
    """Return what the error says about the machine or the installation, or None if it says nothing about them."""
    match error:
        case ImportError():
            return _import_error(error)
        case RuntimeError() if NO_THREAD in str(error):
            return ForwarderError(
                "no further thread can be started: a limit on processes, or on memory, is reached",
                hint="raise TasksMax of the unit, the pids limit of the container, `ulimit -u` or `ulimit -v`",
            )
        case MemoryError():
            return ForwarderError(
                "no further memory can be had",
                hint="raise the memory limit of the container or unit, or `ulimit -v`; at least 256 MiB are needed",
            )
        case OSError() | ValueError() if type(error).__name__ in CRYPTOGRAPHY_ERRORS:
            return ForwarderError(
                f"this machine's OpenSSL cannot do what is needed: {error}",
                hint="check OPENSSL_CONF and the system's crypto policy: FIPS mode needs the FIPS provider of OpenSSL",
            )
    return None


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
