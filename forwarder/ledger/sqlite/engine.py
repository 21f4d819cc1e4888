"""The requirements for the SQLite library that this Python is linked with."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from forwarder.errors import LedgerError

MIN_VERSION = (3, 33, 0)
"""The first version with UPDATE … FROM and the name sqlite_schema: https://sqlite.org/releaselog/3_33_0.html.

Later features are not used, such as RETURNING, or an upsert without a conflict target (both 3.35).
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """A SQLite library. `threadsafety` is the value of PEP 249: 0 if only one thread may use the library."""

    version: tuple[int, ...]
    threadsafety: int
    has_json: bool


def linked_engine() -> Engine:
    """Return the library that is in use."""
    try:
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("SELECT value FROM json_each(json_insert('[]', '$[#]', 1))").fetchone()
    except sqlite3.Error:
        has_json = False
    else:
        has_json = True
    return Engine(sqlite3.sqlite_version_info, sqlite3.threadsafety, has_json)


def require_supported(engine: Engine) -> None:
    """Raise LedgerError if the ledger cannot work with this library. Sent events could not be settled."""
    hint = (
        f"use a Python that is linked with SQLite {_dotted(MIN_VERSION)} or later: that of the container image, of uv"
        " or of pyenv; `python3 -c 'import sqlite3; print(sqlite3.sqlite_version)'` prints the version"
    )
    if engine.version < MIN_VERSION:
        found, needed = _dotted(engine.version), _dotted(MIN_VERSION)
        raise LedgerError(f"SQLite {found} is too old for the ledger, which needs {needed} or later", hint=hint)
    if not engine.has_json:
        raise LedgerError(f"SQLite {_dotted(engine.version)} is built without its JSON functions", hint=hint)
    if not engine.threadsafety:
        raise LedgerError(f"SQLite {_dotted(engine.version)} is built for a single thread", hint=hint)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
