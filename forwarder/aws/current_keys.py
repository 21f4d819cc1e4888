"""The AWS keys in use. After AWS refuses the keys, every source is read again, including files.

The SDK reads each file once per session, and keeps keys without an expiry for the whole session. Another process can
renew the keys in a file while the daemon runs, so a refusal starts a new session.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiobotocore.credentials import AioCredentials

from forwarder.aws.credential_chain import KeySession, load_keys
from forwarder.aws.credential_errors import provider_error
from forwarder.aws.sigv4 import FrozenKeys

if TYPE_CHECKING:
    from forwarder.aws.credentials import Identity


class CurrentKeys:
    """The current keys of an identity. `seconds` limits the wait for keys: a credential program may never end.

    `renewed` returns the identity with the keys that are stored by then. It is called after a refusal.
    """

    def __init__(self, identity: "Identity", seconds: float, renewed: "Callable[[], Identity] | None" = None) -> None:
        self._identity = identity
        self._timeout_seconds = seconds
        self._renewed = renewed
        self._session: KeySession | None = None  # made when keys are needed; some never are
        self._is_refused = False
        self._first_load: asyncio.Task[FrozenKeys] | None = None
        self._waiting = 0
        """The callers that wait for `_first_load`."""

    async def find(self) -> FrozenKeys:
        """Return keys that are valid now. Raise DestinationError if no provider returns valid keys.

        After an error, the next call reads every source again. Callers that need the keys of a new session together
        share one load: a request for each of them would start a program for each, or be throttled
        (https://github.com/aws/eks-pod-identity-agent/issues/50). The SDK has a lock for later renewals only.
        """
        if self._is_refused and self._renewed is not None:
            self._identity = self._renewed()
        self._is_refused = False
        session = self._session = self._session or self._identity.session()
        if session.validated_keys is not None:
            return await self._load(session)
        if self._first_load is None or self._first_load.done():
            self._first_load = asyncio.create_task(self._load(session))
        self._waiting += 1
        try:
            return await asyncio.shield(self._first_load)
        finally:
            self._waiting -= 1
            if not self._waiting:  # all of them may have been cancelled
                self._first_load.cancel()

    async def _load(self, session: KeySession) -> FrozenKeys:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await load_keys(session)
        except Exception as error:  # noqa: BLE001  # each provider of the chain raises different errors
            problem = provider_error(error, "", session)
            self._discard(session)
            raise problem from None

    def invalidate(self, keys: FrozenKeys) -> None:
        """Read every source again before the next request. Further calls with the same keys have no effect."""
        if self._session is not None and self._session.validated_keys == keys:
            self._session = None

    def invalidate_key(self, key_id: str) -> None:
        """Read every source again before the next request, if the refused keys with this id are still in use."""
        session = self._session
        if session is not None and session.validated_keys is not None and session.validated_keys.access_key == key_id:
            self._session, self._is_refused = None, True

    def _discard(self, session: KeySession) -> None:
        if self._session is session:
            self._session = None

    def client_session(self) -> KeySession:
        """Return a session whose clients sign each request with the current keys."""
        return self._identity.session_with(lambda _: [_CurrentCredentials(self)])


class _CurrentCredentials(AioCredentials):  # type: ignore[misc]  # the SDK ships no types
    """A provider of the SDK's chain that is also its credentials. It stores no keys."""

    METHOD = "current"

    def __init__(self, keys: CurrentKeys) -> None:
        super().__init__("", "", method=self.METHOD)
        self._keys = keys

    async def load(self) -> "_CurrentCredentials":
        return self

    async def get_frozen_credentials(self) -> FrozenKeys:
        return await self._keys.find()
