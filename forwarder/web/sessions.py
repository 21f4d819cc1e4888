"""The sessions of the web UI. A file keeps them for the next process."""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from forwarder.clock import Clock
from forwarder.web.session_file import SavedSession, load_sessions, save_sessions

MAX_IDLE_SECONDS = 30 * 60.0
MAX_AGE_SECONDS = 12 * 3600.0
"""The longest time since the last request of a session, and since its start."""

MAX_SESSIONS = 100
"""The number of sessions at a time. If there are more, the one that is idle longest ends."""


@dataclass(slots=True)
class Session:
    """A session. `name` identifies it in the log; `token_digest` belongs to the admin token that opened it."""

    name: str
    token_digest: str
    started_at: float
    last_used_at: float


class Sessions:
    """The sessions by cookie. With a `file`, logins and logouts are saved, and the sessions of its last save go on."""

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        now = clock.monotonic()
        saved = load_sessions(file, clock.now()) if file else {}
        self._sessions = {
            key: Session(key[:8], each.token_digest, now - each.age_seconds, now - each.idle_seconds)
            for key, each in saved.items()
        }

    def create(self, token_digest: str) -> tuple[str, Session]:
        """Start a session. Return the value of its cookie, and the session."""
        self._remove_expired()
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].last_used_at)]
        cookie = secrets.token_urlsafe(32)
        now = self._clock.monotonic()
        key = _digest(cookie)
        self._sessions[key] = session = Session(key[:8], _digest(token_digest), started_at=now, last_used_at=now)
        self.save()
        return cookie, session

    def find(self, cookie: str, token_digest: str | None, *, use: bool = True) -> Session | None:
        """Return the session of a cookie, or None if it has ended or was opened with another admin token.

        `token_digest` is the digest of the current token. `use` resets the idle time.
        """
        self._remove_expired()
        session = self._sessions.get(_digest(cookie))
        if session is None or token_digest is None or session.token_digest != _digest(token_digest):
            return None
        if use:
            session.last_used_at = self._clock.monotonic()
        return session

    def end(self, cookie: str) -> None:
        if self._sessions.pop(_digest(cookie), None) is not None:
            self.save()

    def save(self) -> None:
        """Save the sessions for the next process. If that fails, they end with this process."""
        self._remove_expired()
        if self._file is None:
            return
        now = self._clock.monotonic()
        saved = {
            key: SavedSession(each.token_digest, now - each.started_at, now - each.last_used_at)
            for key, each in self._sessions.items()
        }
        save_sessions(self._file, self._clock.now(), saved)

    def _remove_expired(self) -> None:
        now = self._clock.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.last_used_at >= MAX_IDLE_SECONDS or now - session.started_at >= MAX_AGE_SECONDS:
                del self._sessions[key]


def _digest(secret: str) -> str:
    """Return the key of a cookie's session, or the digest of a token's digest.

    The time of a lookup does not reveal a cookie, and the file of the sessions holds nothing that opens one.
    """
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
