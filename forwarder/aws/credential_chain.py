"""The SDK's credential chain, extended: errors name the provider that failed, and each provider has a time limit."""

import asyncio
import copy
import functools
import logging
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
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from forwarder.aws.credential_causes import MfaRequiredError
from forwarder.aws.credential_errors import check_key_format, no_credentials_error, provider_error
from forwarder.aws.credential_process import CredentialProcess
from forwarder.aws.sigv4 import FrozenKeys
from forwarder.errors import DestinationError

log = structlog.get_logger("credentials")


class CredentialProvider(Protocol):
    """A provider of the SDK's credential chain."""

    METHOD: str

    async def load(self) -> Any: ...


ProviderFactory = Callable[["KeySession"], Sequence[CredentialProvider]]


class KeySession(AioSession):  # type: ignore[misc]  # the SDK ships no types
    """A session of the SDK that uses the region of the settings, and ignores the region of profiles and variables.

    `seconds` limits the time of each provider. `provider` is the method of the provider in use. `config` also applies
    to the clients that the chain makes.
    """

    def __init__(
        self, region: str, config: AioConfig, seconds: float, provider_factory: ProviderFactory | None = None
    ) -> None:
        super().__init__(event_hooks=copy.copy(_builtin_handlers()), include_builtin_handlers=False)
        self.seconds = seconds
        self.validated_keys: FrozenKeys | None = None
        self.provider = ""
        self.set_config_variable("region", region)
        self.set_default_client_config(config)
        self.register_component("credential_provider", _CredentialChain(self, provider_factory or _default_providers))

    def get_component(self, name: str) -> Any:
        """Return the component of the SDK with this name. The loader is shared by all sessions of the process."""
        if name == "data_loader":
            return _shared_loader(self.get_config_variable("data_path"))
        return super().get_component(name)


class StoredKeySession(KeySession):
    """A session that reads no AWS profiles, so that an invalid profile cannot affect stored keys."""

    @property
    def full_config(self) -> dict[str, Any]:
        return {"profiles": {}}

    def get_scoped_config(self) -> dict[str, Any]:
        return {}


@functools.cache
def _builtin_handlers() -> AioHierarchicalEmitter:
    """Return the SDK's handlers, which it inspects when it registers them: a copy takes a tenth of that time."""
    emitter = AioHierarchicalEmitter()
    AioSession(event_hooks=emitter)
    return emitter


@functools.cache
def _shared_loader(data_path: str | None) -> Loader:
    """Return the one loader of the SDK's service models for this value of `AWS_DATA_PATH`.

    It keeps each model that it has read, which takes 50 ms to parse. The models are only read, and two threads that
    miss the same one both read it, so the loader needs no lock.
    """
    return create_loader(data_path)


async def load_keys(session: KeySession) -> FrozenKeys:
    """Return keys that are valid now. Raise DestinationError, which names the provider that failed."""
    credentials = await session.get_credentials()
    if credentials is None:
        raise await no_credentials_error(session)
    session.provider = credentials.method
    try:
        async with asyncio.timeout(session.seconds):
            keys: FrozenKeys = await credentials.get_frozen_credentials()
    except DestinationError:
        raise
    except Exception as error:  # noqa: BLE001  # each provider raises different errors
        raise provider_error(error, credentials.method, session) from None
    if keys != session.validated_keys:
        check_key_format(keys, credentials.method, session)
        _check_profile(session)
        session.validated_keys = keys
    return keys


def _check_profile(session: KeySession) -> None:
    """Raise DestinationError if the profile cannot be read. Every client reads it, with any keys."""
    try:
        session.get_scoped_config()
        session.get_auth_token()
    except Exception as error:  # noqa: BLE001  # as above
        raise provider_error(error, "", session) from None


class _CredentialChain(AioCredentialResolver):  # type: ignore[misc]  # the SDK ships no types
    def __init__(self, session: KeySession, provider_factory: ProviderFactory) -> None:
        super().__init__(providers=[])
        self._session = session
        self._provider_factory = provider_factory
        self.providers: list[CredentialProvider] = []

    async def load_credentials(self) -> Any:
        """Return the credentials of the first provider that has credentials, or None if no provider has any.

        Raise DestinationError if a provider fails before that. Later providers are not tried.
        """
        try:
            self.providers = self.providers or list(self._provider_factory(self._session))
        except Exception as error:  # noqa: BLE001  # a profile, a file of profiles or a variable cannot be read
            raise provider_error(error, "", self._session) from None
        for provider in self.providers:
            self._session.provider = provider.METHOD
            try:
                async with asyncio.timeout(self._session.seconds):
                    credentials = await provider.load()
            except DestinationError:
                raise
            except Exception as error:  # noqa: BLE001  # as above
                raise provider_error(error, provider.METHOD, self._session) from None
            if credentials is not None:
                return credentials
        return None


def _default_providers(session: KeySession) -> list[CredentialProvider]:
    """Return the SDK's chain, with a limit for processes and without interactive prompts."""
    providers: list[CredentialProvider] = create_credential_resolver(session).providers
    builder = _ProfileProviderBuilder(session, cache={}, region_name=None)
    for index, provider in enumerate(providers):
        if isinstance(provider, AioProcessProvider):
            providers[index] = builder.process(session.get_config_variable("profile") or "default")
        elif isinstance(provider, AioAssumeRoleProvider):
            # The SDK has no public way to replace the processes of a `source_profile` and the prompt for a code.
            provider._profile_provider_builder = builder  # noqa: SLF001  # as above
            provider._prompter = _refuse_prompt  # noqa: SLF001  # as above
    return providers


class _ProfileProviderBuilder(AioProfileProviderBuilder):  # type: ignore[misc]  # the SDK ships no types
    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return self.process(profile_name)

    def process(self, profile_name: str) -> Any:
        return AioProcessProvider(
            profile_name=profile_name, load_config=lambda: self._session.full_config, popen=CredentialProcess.start
        )


def _refuse_prompt(_prompt: str) -> NoReturn:
    raise MfaRequiredError


class _RefreshWarningFilter(logging.Filter):
    """A filter for the SDK's warnings about failed renewals, which contain tracebacks.

    A mandatory renewal that fails also raises the error. An optional one is logged as one line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if record.exc_info and record.args and "mandatory" not in record.args:
            exc_type = record.exc_info[0]
            log.warning("AWS credentials not renewed yet", reason=exc_type.__name__ if exc_type else "")
        return not (record.exc_info or "still expired" in str(record.msg))


for _name in ("aiobotocore.credentials", "aiobotocore.tokens"):
    # `log.configure` silences the other loggers of the SDK. This filter decides what these two write.
    logging.getLogger(_name).setLevel(logging.WARNING)
    logging.getLogger(_name).addFilter(_RefreshWarningFilter())
