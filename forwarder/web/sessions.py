"""Who is logged in. Sessions are kept in memory alone: a restart ends them all."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from forwarder.clock import Clock

IDLE = 30 * 60.0
LONGEST = 12 * 3600.0
"""Seconds after which a session ends: without a request, and whatever it is used for."""

MOST = 100
"""Sessions at a time; the one that was idle longest makes room."""


@dataclass(slots=True)
class Session:
    """`name` tells it apart in the log without telling its cookie; `let_in_by` is the digest of the token."""

    name: str
    let_in_by: str
    began: float
    used: float
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _spent: set[str] = field(default_factory=set, repr=False)

    def form_token(self) -> str:
        """A new token that proves that a change comes from a page of this session. It counts once."""
        number = secrets.token_urlsafe(16)
        return f"{number}.{self._mark(number)}"

    def is_ours(self, form_token: str) -> bool:
        """Return whether a page of this session holds this token, spent or not."""
        number, _, mark = form_token.partition(".")
        return hmac.compare_digest(mark.encode(errors="replace"), self._mark(number).encode())

    def spend(self, form_token: str) -> bool:
        """Whether it is one of this session, and was not spent before."""
        if not self.is_ours(form_token):
            return False
        number = form_token.partition(".")[0]
        is_new = number not in self._spent
        self._spent.add(number)
        return is_new

    def _mark(self, number: str) -> str:
        return hmac.new(self._key, number.encode(errors="replace"), "sha256").hexdigest()


class Sessions:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(self, let_in_by: str) -> tuple[str, Session]:
        """The value of its cookie, and the session."""
        self._end_the_old()
        while len(self._sessions) >= MOST:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        cookie = secrets.token_urlsafe(32)
        now = self._clock.monotonic()
        session = Session(_kept_as(cookie)[:8], let_in_by, began=now, used=now)
        self._sessions[_kept_as(cookie)] = session
        return cookie, session

    def find(self, cookie: str, let_in_by: str | None, *, use: bool = True) -> Session | None:
        """The session of a cookie; None where it ended, or its token counts no more. `use` keeps it from being idle."""
        self._end_the_old()
        session = self._sessions.get(_kept_as(cookie))
        if session is None or session.let_in_by != let_in_by:
            return None
        if use:
            session.used = self._clock.monotonic()
        return session

    def end(self, cookie: str) -> None:
        self._sessions.pop(_kept_as(cookie), None)

    def _end_the_old(self) -> None:
        now = self._clock.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.used >= IDLE or now - session.began >= LONGEST:
                del self._sessions[key]


def _kept_as(cookie: str) -> str:
    """Looked up by a digest, so that the time it takes tells nothing of the cookies there are."""
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()
