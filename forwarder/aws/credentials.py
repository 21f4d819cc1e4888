"""The AWS identity of the forwarder: stored keys or the ambient chain, and the role that is assumed with them.

Invalid stored keys are an error. They are never replaced by ambient keys.
"""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioDeferredRefreshableCredentials
from pydantic import SecretStr

from forwarder.aws.credential_chain import KeySession, ProviderFactory, StoredKeySession, load_keys
from forwarder.aws.credential_errors import not_aws_error, provider_error
from forwarder.aws.credential_providers import ROLE, CredentialSource, source_of
from forwarder.aws.http_session import BoundedSession
from forwarder.errors import SecretMissing
from forwarder.settings.sections import DestinationSettings
from forwarder.settings.validators.common import is_loopback
from forwarder.vault import AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN

ROLE_DURATION_SECONDS = 3600
"""The duration of a role session. The SDK renews 15 minutes before the end, so a short duration renews too often."""

ROLE_SESSION_NAME = "forwarder"

MAX_PROVIDER_TIMEOUTS = 2
"""The time limit of a provider, in multiples of the request timeout. Credential programs take longer than requests."""

Service = Literal["events", "sts", "sqs", "s3"]
"""The name of a service in the SDK."""


class SecretStore(Protocol):
    """A store that returns secrets by name: a vault, or a vault with unsaved changes."""

    def reveal(self, name: str) -> SecretStr | None: ...


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The AWS keys of the vault."""

    access_key_id: SecretStr
    secret_access_key: SecretStr
    session_token: SecretStr | None = None

    @classmethod
    def of(cls, vault: SecretStore) -> Self | None:
        """Return the stored AWS keys, or None if none are stored. Raise SecretMissing if the set is incomplete."""
        key_id, secret = vault.reveal(AWS_ACCESS_KEY_ID), vault.reveal(AWS_SECRET_ACCESS_KEY)
        token = vault.reveal(AWS_SESSION_TOKEN)
        if key_id is None and secret is None and token is None:
            return None
        if key_id is None or secret is None:
            missing = AWS_ACCESS_KEY_ID if key_id is None else AWS_SECRET_ACCESS_KEY
            raise SecretMissing(
                f"the vault holds a part of an AWS key: {missing} is missing",
                hint=f"`forwarder keys set {missing}`, or remove the others to use the ambient keys",
            )
        return cls(key_id, secret, token)

    def client_arguments(self) -> dict[str, str]:
        """Return the keys as arguments of an SDK client, in plain text."""
        arguments = {
            "aws_access_key_id": self.access_key_id.get_secret_value(),
            "aws_secret_access_key": self.secret_access_key.get_secret_value(),
        }
        if self.session_token is not None:
            arguments["aws_session_token"] = self.session_token.get_secret_value()
        return arguments


@dataclass(frozen=True, slots=True)
class Identity:
    """The AWS settings and keys of the forwarder."""

    destination: DestinationSettings
    stored: StoredKeys | None = field(default=None)

    @property
    def origin(self) -> str:
        return "the vault" if self.stored else "the ambient chain"

    @property
    def digest(self) -> str:
        """Return a hash of `endpoint_url`, the stored key id and `role_arn`.

        The hash stands for the account in the name of a bus, and reveals no secret.
        """
        key_id = self.stored.access_key_id.get_secret_value() if self.stored else ""
        whole = f"{self.destination.endpoint_url}\0{key_id}\0{self.destination.role_arn}"
        return hashlib.sha256(whole.encode()).hexdigest()[:8]

    def session(self) -> KeySession:
        """Return a session of the SDK whose clients use these keys, or the role assumed with them."""
        base = self.session_with(None)
        if self.stored is not None:
            base.set_credentials(*self.stored.client_arguments().values())
        if not self.destination.role_arn:
            return base
        # Assuming the role waits for the base provider, for a client of STS, and for its response.
        return self.session_with(lambda _: [_RoleProvider(self, base)], times=3)

    def session_with(self, provider_factory: ProviderFactory | None, *, times: int = 1) -> KeySession:
        """Return a session of the SDK with these providers or the default ones. `times` multiplies their time limit."""
        session_class = KeySession if self.stored is None else StoredKeySession
        seconds = times * MAX_PROVIDER_TIMEOUTS * self.destination.timeout.total_seconds()
        return session_class(self.destination.region, client_config(self.destination), seconds, provider_factory)

    async def caller(self, session: KeySession) -> str:
        """Return a text with the ARN and the source of the keys. Raise DestinationError if STS returns no ARN."""
        await load_keys(session)
        credentials = await session.get_credentials()
        source = self._role_source() if self.destination.role_arn else source_of(credentials.method, session)
        prefix = "AWS STS does not confirm the keys from"
        try:
            async with session.create_client("sts", **self.client_options("sts")) as sts:
                arn = (await sts.get_caller_identity()).get("Arn")
        except Exception as error:  # noqa: BLE001  # provider_error classifies every error of the SDK
            raise provider_error(error, credentials.method, session, source=source, prefix=prefix) from None
        if not arn:
            raise not_aws_error(f"{prefix} {source.name}")
        return f"{arn}, with keys from {source.name}"

    def client_options(self, service: Service) -> dict[str, Any]:
        """Return the options of a client of this service, in addition to those of the session.

        `endpoint_url` is the address of EventBridge. The other services have it too if it is on loopback, because an
        emulator serves all of them on one port. A variable of the SDK that sets their address has precedence.
        """
        endpoint_url = self.destination.endpoint_url
        if service != "events" and not self._has_emulator(service):
            endpoint_url = ""
        options: dict[str, Any] = {"region_name": self.destination.region, "endpoint_url": endpoint_url or None}
        if service == "s3" and endpoint_url:
            options["config"] = AioConfig(s3={"addressing_style": "path"})  # `bucket.localhost` often has no address
        return options

    def _has_emulator(self, service: Service) -> bool:
        variables = (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL")
        host = urlsplit(self.destination.endpoint_url).hostname or ""
        return is_loopback(host) and not any(name in os.environ for name in variables)

    def role_request(self) -> dict[str, Any]:
        """Return the parameters of the request for the keys of the role."""
        request: dict[str, Any] = {
            "RoleArn": self.destination.role_arn,
            "RoleSessionName": ROLE_SESSION_NAME,
            "DurationSeconds": ROLE_DURATION_SECONDS,
        }
        if self.destination.external_id:
            request["ExternalId"] = self.destination.external_id
        return request

    def _role_source(self, base: str = "") -> CredentialSource:
        used = f", assumed with {base}" if base else ""
        return CredentialSource(
            f"the role {self.destination.role_arn} (destination.role_arn){used}",
            "correct destination.role_arn and destination.external_id",
        )

    async def assume_role(self, base: KeySession) -> dict[str, str]:
        """Return the keys of the role in the form of the SDK's refresh function. Raise DestinationError."""
        await load_keys(base)
        source = self._role_source(source_of((await base.get_credentials()).method, base).name)
        try:
            async with base.create_client("sts", **self.client_options("sts")) as sts:
                response = await sts.assume_role(**self.role_request())
            keys = response["Credentials"]
            return {
                "access_key": keys["AccessKeyId"],
                "secret_key": keys["SecretAccessKey"],
                "token": keys["SessionToken"],
                "expiry_time": keys["Expiration"].isoformat(),
            }
        except Exception as error:  # noqa: BLE001  # as above
            raise provider_error(error, ROLE, base, source=source) from None


class _RoleProvider:
    """A provider of the SDK's chain that assumes the role, and renews its keys before they expire."""

    METHOD = ROLE
    CANONICAL_NAME = "AssumeRole"

    def __init__(self, identity: Identity, base: KeySession) -> None:
        self._identity = identity
        self._base = base

    async def load(self) -> AioDeferredRefreshableCredentials:
        return AioDeferredRefreshableCredentials(
            refresh_using=lambda: self._identity.assume_role(self._base), method=self.METHOD
        )


def _options(destination: DestinationSettings) -> dict[str, Any]:
    seconds = destination.timeout.total_seconds()
    return {
        # Delivery retries. Retries of the SDK would multiply with them, and would hide duplicates.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": seconds,
        "read_timeout": seconds,
        "max_pool_connections": destination.concurrency,
        "user_agent_extra": "forwarder",
    }


def client_config(destination: DestinationSettings) -> AioConfig:
    return AioConfig(**_options(destination), http_session_cls=BoundedSession)
