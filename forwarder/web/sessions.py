"""The sessions of the web UI. They are kept in memory only: a restart ends them."""

import hashlib
import secrets
from dataclasses import dataclass

from forwarder.clock import Clock

MAX_IDLE_SECONDS = 30 * 60.0
MAX_AGE_SECONDS = 12 * 3600.0
"""The longest time since the last request of a session, and since its start."""

MAX_SESSIONS = 100
"""The number of sessions at a time. If there are more, the one that is idle longest ends."""


@dataclass(slots=True)
class Session:
    """A session. `name` identifies it in the log; `token_digest` is the digest of the admin token that opened it."""

    name: str
    token_digest: str
    started_at: float
    last_used_at: float


class Sessions:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def create(self, token_digest: str) -> tuple[str, Session]:
        """Start a session. Return the value of its cookie, and the session."""
        self._remove_expired()
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].last_used_at)]
        cookie = secrets.token_urlsafe(32)
        now = self._clock.monotonic()
        session = Session(_cookie_digest(cookie)[:8], token_digest, started_at=now, last_used_at=now)
        self._sessions[_cookie_digest(cookie)] = session
        return cookie, session

    def find(self, cookie: str, token_digest: str | None, *, use: bool = True) -> Session | None:
        """Return the session of a cookie, or None if it has ended or was opened with another admin token.

        `token_digest` is the digest of the current token. `use` resets the idle time.
        """
        self._remove_expired()
        session = self._sessions.get(_cookie_digest(cookie))
        if session is None or session.token_digest != token_digest:
            return None
        if use:
            session.last_used_at = self._clock.monotonic()
        return session

    def end(self, cookie: str) -> None:
        self._sessions.pop(_cookie_digest(cookie), None)

    def _remove_expired(self) -> None:
        now = self._clock.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.last_used_at >= MAX_IDLE_SECONDS or now - session.started_at >= MAX_AGE_SECONDS:
                del self._sessions[key]


def _cookie_digest(cookie: str) -> str:
    """Return the key of a cookie's session. A digest is used, so that the time of a lookup does not reveal a cookie."""
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()
