"""The end of a membership: a member drains while its last requests are in flight, then leaves."""

import asyncio
from contextlib import suppress

import structlog

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.dynamodb.journal import MembershipLost
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.membership import MembershipStore, failure_of

log = structlog.get_logger("fleet")

MAX_LEAVING_SECONDS = 1.0
"""The time for which the feeds of a member that leaves wait for their checkpoints, which may be thousands."""


class LeavingStore(MembershipStore):
    """The operations by which a process ends its membership."""

    async def keep_alive(self) -> None:
        member = self._member
        if member is None:
            return
        try:
            if not member.is_draining:
                member.is_draining = True
                await self._cancel_take_overs()
                self._begin_heartbeat()
                if failure := await failure_of(self._before_draining(member)):
                    log.warning("state not saved before draining", reason=failure.message, hint=failure.hint)
            await self._write_heartbeat(member)
        except MembershipLost:
            await self._end_membership(member)
            log.warning("taken over by another forwarder while draining", member=member.id)
        except LedgerError as error:
            self._heartbeat_failure = error
            raise
        self._heartbeat_failure = None

    async def leave(self) -> None:
        await self._leave()

    async def _leave(self) -> None:
        await self._cancel_background()
        await self._cancel_take_overs()
        if (member := self._member) is None:
            return
        try:
            failure = await self._save_before_leaving(member)
            await self._write_heartbeat(member, left=True)
            if failure is not None:
                log.warning("state not saved before leaving", reason=failure.message, hint=failure.hint)
        except LedgerError as error:  # after a few heartbeats, another member takes over
            log.warning("left without a last heartbeat", reason=error.message, hint=error.hint)
        self._drop(member)
        self._heartbeat_failure = None  # a process that is no member needs no heartbeat

    async def _save_before_leaving(self, member: Member) -> LedgerError | None:
        """Save what is only in memory, and return the failure. If it takes long, others get the feeds meanwhile."""
        saving = asyncio.create_task(failure_of(self._before_leaving(member)))
        pause = min(MAX_LEAVING_SECONDS, self._heartbeat_seconds)
        try:
            while not (await asyncio.wait([saving], timeout=pause))[0]:
                member.is_draining, pause = True, self._heartbeat_seconds
                with suppress(LedgerUnavailable):  # the last heartbeat is tried in any case
                    await self._write_heartbeat(member)
            return saving.result()
        finally:
            saving.cancel()
            await asyncio.wait([saving])
