"""The SDK's credential chain, made to name the link that fails and to wait for none without limit."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import structlog
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioCredentialResolver,
    AioProcessProvider,
    AioProfileProviderBuilder,
    create_credential_resolver,
)
from aiobotocore.session import AioSession

from forwarder.aws.credential_causes import NeedsPersonError, ProcessError
from forwarder.aws.credential_errors import check_form, explain, none_found
from forwarder.aws.credential_sources import shown
from forwarder.errors import DestinationError

log = structlog.get_logger("credentials")

MAX_PROCESS_OUTPUT_BYTES = 65_536
"""The limit of each output of a `credential_process`, whose answer has about 2 KiB."""


class FrozenKeys(Protocol):
    """Three values of the SDK's credentials that belong together."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Link(Protocol):
    """A source of credentials, as the SDK has them."""

    METHOD: str

    async def load(self) -> Any: ...


Links = Callable[["KeySession"], Sequence[Link]]


class KeySession(AioSession):  # type: ignore[misc]  # the SDK ships no types
    """A session of the SDK with the region of the settings, whatever a profile or variable names.

    `seconds` bounds each link, and `link` is the one in use. Clients that the chain makes follow `config` too.
    """

    def __init__(self, region: str, config: AioConfig, seconds: float, links: Links | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.checked: FrozenKeys | None = None
        self.link = ""
        self.set_config_variable("region", region)
        self.set_default_client_config(config)
        self.register_component("credential_provider", _Chain(self, links or _links))


class StoredKeySession(KeySession):
    """A session that reads no AWS profile and no file of them, so that none can break stored keys."""

    @property
    def full_config(self) -> dict[str, Any]:
        return {"profiles": {}}

    def get_scoped_config(self) -> dict[str, Any]:
        return {}


async def find_keys(session: KeySession) -> FrozenKeys:
    """Return credentials that are valid now. Raise DestinationError, which names the link that failed."""
    credentials = await session.get_credentials()
    if credentials is None:
        raise await none_found(session)
    session.link = credentials.method
    try:
        async with asyncio.timeout(session.seconds):
            keys: FrozenKeys = await credentials.get_frozen_credentials()
    except DestinationError:
        raise
    except Exception as error:  # noqa: BLE001  # each link, and each file it reads, has errors of its own
        raise explain(error, credentials.method, session) from None
    if keys != session.checked:
        check_form(keys, credentials.method, session)
        _check_profile(session)
        session.checked = keys
    return keys


def _check_profile(session: KeySession) -> None:
    """Raise DestinationError if the profile cannot be read, which every client needs, whatever keys it has."""
    try:
        session.get_scoped_config()
        session.get_auth_token()
    except Exception as error:  # noqa: BLE001  # as above
        raise explain(error, "", session) from None


class _Chain(AioCredentialResolver):  # type: ignore[misc]  # the SDK ships no types
    def __init__(self, session: KeySession, links: Links) -> None:
        super().__init__(providers=[])
        self._session = session
        self._links = links
        self.providers: list[Link] = []

    async def load_credentials(self) -> Any:
        """Return the first credentials found, or None. Raise DestinationError, which names the link that failed."""
        try:
            self.providers = self.providers or list(self._links(self._session))
        except Exception as error:  # noqa: BLE001  # a profile, a file of profiles or a variable cannot be read
            raise explain(error, "", self._session) from None
        for link in self.providers:
            self._session.link = link.METHOD
            try:
                async with asyncio.timeout(self._session.seconds):
                    credentials = await link.load()
            except DestinationError:
                raise
            except Exception as error:  # noqa: BLE001  # as above
                raise explain(error, link.METHOD, self._session) from None
            if credentials is not None:
                return credentials
        return None


def _links(session: KeySession) -> list[Link]:
    """Return the SDK's own chain, with processes that end and without questions to a person."""
    links: list[Link] = create_credential_resolver(session).providers
    builder = _Builder(session, cache={}, region_name=None)
    for index, link in enumerate(links):
        if isinstance(link, AioProcessProvider):
            links[index] = builder.process(session.get_config_variable("profile") or "default")
        elif isinstance(link, AioAssumeRoleProvider):
            # The SDK offers no other way to reach what a `source_profile` starts, and who is asked for a code.
            link._profile_provider_builder = builder  # noqa: SLF001
            link._prompter = _ask_nobody  # noqa: SLF001
    return links


class _Builder(AioProfileProviderBuilder):  # type: ignore[misc]  # the SDK ships no types
    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return self.process(profile_name)

    def process(self, profile_name: str) -> Any:
        return AioProcessProvider(
            profile_name=profile_name, load_config=lambda: self._session.full_config, popen=_Process.start
        )


def _ask_nobody(_prompt: str) -> NoReturn:
    raise NeedsPersonError


class _Process:
    """A `credential_process` in a process group of its own, which ends when nobody waits for it."""

    def __init__(self, process: asyncio.subprocess.Process, program: str) -> None:
        self._process = process
        self._program = program
        self.returncode: int | None = None

    @classmethod
    async def start(cls, *command: str, **_pipes: Any) -> "_Process":
        if not command:
            raise ProcessError("credential_process is empty")
        program = shown(command[0])
        try:
            # Without input and a terminal: a question to a person has no answer in a daemon.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise ProcessError(f"{program} cannot be started: {reason}") from None
        return cls(process, program)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Return both outputs. Raise ProcessError if it ends with an error or writes too much."""
        try:
            out, err = await asyncio.gather(self._read(self._process.stdout), self._read(self._process.stderr))
            self.returncode = await self._process.wait()
        except BaseException:
            self._kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._process.communicate()  # what is still in the pipes keeps them open
            raise
        if max(len(out), len(err)) > MAX_PROCESS_OUTPUT_BYTES:
            raise ProcessError(f"{self._program} writes more than {MAX_PROCESS_OUTPUT_BYTES} bytes")
        if self.returncode:
            raise ProcessError.ended(self._program, self.returncode, err)
        return out, err

    async def _read(self, stream: asyncio.StreamReader | None) -> bytes:
        """Return all that it writes, or the beginning of what is too much, after which it is ended."""
        read = b""
        while stream is not None and (chunk := await stream.read(MAX_PROCESS_OUTPUT_BYTES)):
            if len(read) <= MAX_PROCESS_OUTPUT_BYTES:
                read += chunk
            else:
                self._kill()
        return read

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its children too, which may hold the pipes open


class _Refreshes(logging.Filter):
    """A filter of the SDK's warnings about renewals, which come with tracebacks.

    A failed renewal that matters raises the same error. One that can wait is one line of our log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if record.exc_info and record.args and "mandatory" not in record.args:
            kind = record.exc_info[0]
            log.warning("AWS credentials not renewed yet", reason=kind.__name__ if kind else "")
        return not (record.exc_info or "still expired" in str(record.msg))


for _name in ("aiobotocore.credentials", "aiobotocore.tokens"):
    logging.getLogger(_name).addFilter(_Refreshes())
