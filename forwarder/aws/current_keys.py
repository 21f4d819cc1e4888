"""The AWS keys in use: they are found again, files included, after AWS refused them.

The SDK reads each file once, and keeps keys that have no end of their own for the life of its session. Another process
may renew keys in a file while the daemon runs, so a refusal ends the session, not the daemon.
"""

import asyncio
from typing import TYPE_CHECKING

from aiobotocore.credentials import AioCredentials

from forwarder.aws.credential_chain import FrozenKeys, KeySession, find_keys
from forwarder.aws.credential_errors import explain

if TYPE_CHECKING:
    from forwarder.aws.credentials import Identity


class CurrentKeys:
    """`seconds` is the longest wait for keys: a program that makes them may never end."""

    def __init__(self, identity: "Identity", seconds: float) -> None:
        self._identity = identity
        self._seconds = seconds
        self._session = identity.session()

    async def find(self) -> FrozenKeys:
        """Return keys that are valid now. Raise DestinationError, after which every source is read again."""
        session = self._session
        try:
            async with asyncio.timeout(self._seconds):
                return await find_keys(session)
        except Exception as error:  # noqa: BLE001  # each link of the chain, and each file it reads, has its own
            problem = explain(error, "", session)
            self._renew(session)
            raise problem from None

    def refused(self, keys: FrozenKeys) -> None:
        """Read every source again before the next request. Requests in flight may report the same keys once more."""
        if self._session.checked == keys:
            self._renew(self._session)

    def _renew(self, session: KeySession) -> None:
        if self._session is session:
            self._session = self._identity.session()

    def client_session(self) -> KeySession:
        """Return a session whose clients sign each request with the keys of that moment."""
        return self._identity.session_with(lambda _: [_Current(self)])


class _Current(AioCredentials):  # type: ignore[misc]  # the SDK ships no types
    """A link of the SDK's chain, and the credentials that it finds. It holds no keys of its own."""

    METHOD = "current"

    def __init__(self, keys: CurrentKeys) -> None:
        super().__init__("", "", method=self.METHOD)
        self._keys = keys

    async def load(self) -> "_Current":
        return self

    async def get_frozen_credentials(self) -> FrozenKeys:
        return await self._keys.find()
