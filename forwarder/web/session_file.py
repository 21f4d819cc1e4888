"""The file of the sessions, beside the vault. It holds digests and durations, so it opens no session to its reader.

A file of durations does not depend on jumps of the clock while the daemon runs. After a restart, the time since the
save is added to them. If the clock was set back since, that time is unknown, and all sessions end.
"""

import os
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from forwarder import atomicfile
from forwarder.settings import ConfigSource
from forwarder.settings.local_sections import VaultSettings
from forwarder.untrusted_json import decode_or_none

log = structlog.get_logger("web")

MAX_FILE_BYTES = 256 * 1024

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Duration = Annotated[float, msgspec.Meta(ge=0)]


class SavedSession(msgspec.Struct, frozen=True):
    """A session at the time of the save. `token_digest` is a digest of the admin token's digest."""

    token_digest: Digest
    age_seconds: Duration
    idle_seconds: Duration


class _SessionFile(msgspec.Struct, frozen=True):
    saved_at: datetime
    sessions: dict[Digest, SavedSession]
    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1


_decoder = msgspec.json.Decoder(_SessionFile)


def session_file(config_source: ConfigSource, vault: VaultSettings) -> Path:
    """Return the path of the file: `forwarder.sessions.json` beside `forwarder.keys`."""
    return config_source.path(vault.file).with_suffix(".sessions.json")


def load_sessions(file: Path, now: datetime) -> Mapping[str, SavedSession]:
    """Return the saved sessions by the digest of their cookies, with their durations until `now`.

    Return none if the file is missing, invalid or accessible to other users, or if the clock was set back.
    """
    try:
        content = atomicfile.read(file, max_bytes=MAX_FILE_BYTES)
        status = file.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("sessions not loaded", file=str(file), reason=error.strerror)
        return {}
    saved = decode_or_none(content, _decoder)
    # Another user who can write the file could add a session.
    if saved is None or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        log.warning("sessions not loaded", file=str(file), reason="it is damaged, or other users may access it")
        return {}
    if saved.saved_at.tzinfo is None or (elapsed := (now - saved.saved_at).total_seconds()) < 0:
        return {}
    return {
        key: SavedSession(each.token_digest, each.age_seconds + elapsed, each.idle_seconds + elapsed)
        for key, each in saved.sessions.items()
    }


def save_sessions(file: Path, now: datetime, sessions: Mapping[str, SavedSession]) -> None:
    """Save the sessions, or remove the file if there are none. If a write fails, remove the file.

    An older file must not stay, because it can have a session that was logged out.
    """
    try:
        if sessions:
            _remove_accessible(file)
            atomicfile.replace(file, msgspec.json.encode(_SessionFile(now, dict(sessions))), mode=0o600)
        elif atomicfile.lexists(file):
            file.unlink()
    except OSError as error:
        log.warning(
            "sessions not saved", file=str(file), reason=error.strerror,
            hint=f"a restart ends them; {atomicfile.write_hint(file)}",
        )  # fmt: skip
        try:
            if atomicfile.lexists(file):
                file.unlink()
        except OSError as kept:
            log.warning("old sessions not removed", file=str(file), reason=kept.strerror)


def _remove_accessible(file: Path) -> None:
    """Remove a link, or a file that other users may access: a replaced file keeps its mode."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        file.unlink()
