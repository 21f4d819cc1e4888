"""Which AWS keys are used: those in the vault, else the ambient chain; and the role assumed on top of them.

Stored keys that are broken are an error, never a reason to try the ambient ones.
"""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentialResolver, AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.config import Config
from pydantic import SecretStr

from forwarder.aws.http_session import BoundedSession
from forwarder.errors import VaultError
from forwarder.settings.checks import is_loopback
from forwarder.settings.fields import DestinationSettings
from forwarder.vault import AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN

ROLE_SECONDS = 3600
"""The SDK renews a quarter of an hour before the end, so anything shorter would renew all the time."""

SESSION_NAME = "forwarder"


class Secrets(Protocol):
    """A vault, or what it would be with a change."""

    def reveal(self, name: str) -> SecretStr | None: ...


@dataclass(frozen=True, slots=True)
class StoredKeys:
    access_key_id: SecretStr
    secret_access_key: SecretStr
    session_token: SecretStr | None = None

    @classmethod
    def of(cls, vault: Secrets) -> Self | None:
        """None where there are none. Raises VaultError where some are missing."""
        key_id, secret = vault.reveal(AWS_ACCESS_KEY_ID), vault.reveal(AWS_SECRET_ACCESS_KEY)
        token = vault.reveal(AWS_SESSION_TOKEN)
        if key_id is None and secret is None and token is None:
            return None
        if key_id is None or secret is None:
            missing = AWS_ACCESS_KEY_ID if key_id is None else AWS_SECRET_ACCESS_KEY
            raise VaultError(
                f"the vault holds a part of an AWS key: {missing} is missing",
                hint=f"`forwarder keys set {missing}`, or remove the others to use the ambient keys",
            )
        return cls(key_id, secret, token)

    def arguments(self) -> dict[str, str]:
        """As clients of both SDKs take them. Whoever has this has the secrets."""
        given = {
            "aws_access_key_id": self.access_key_id.get_secret_value(),
            "aws_secret_access_key": self.secret_access_key.get_secret_value(),
        }
        if self.session_token is not None:
            given["aws_session_token"] = self.session_token.get_secret_value()
        return given


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the forwarder is to AWS."""

    destination: DestinationSettings
    stored: StoredKeys | None = field(default=None)

    @property
    def origin(self) -> str:
        return "the vault" if self.stored else "the ambient chain"

    @property
    def digest(self) -> str:
        """Tells one address, one stored key and one role from others, and nothing of them."""
        key_id = self.stored.access_key_id.get_secret_value() if self.stored else ""
        whole = f"{self.destination.endpoint_url}\0{key_id}\0{self.destination.role_arn}"
        return hashlib.sha256(whole.encode()).hexdigest()[:8]

    def session(self) -> AioSession:
        """A session of the asynchronous SDK, whose clients use these keys."""
        session = AioSession()
        if self.stored is not None:
            session.set_credentials(*self.stored.arguments().values())
        if not self.destination.role_arn:
            return session
        # The outer session's chain has one link, which knows this role alone, and renews it.
        outer = AioSession()
        outer.register_component("credential_provider", AioCredentialResolver([_RoleProvider(self, session)]))
        return outer

    def blocking_session(self) -> Any:
        """A `boto3.Session` that does the same, with the role's keys for an hour. Raises botocore's errors."""
        import boto3  # noqa: PLC0415  # it takes a while to load, and the daemon needs it for a trial at most

        session = boto3.Session(region_name=self.destination.region, **self._keys())
        if not self.destination.role_arn:
            return session
        said = session.client("sts", **self.sts_options(), config=config(self.destination)).assume_role(
            **self.role_request()
        )
        keys = said["Credentials"]
        return boto3.Session(
            region_name=self.destination.region,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def sts_options(self) -> dict[str, Any]:
        """An emulator on this machine answers for every service; any other address is the bus's alone."""
        address = self.destination.endpoint_url
        is_set = any(name in os.environ for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"))
        is_emulator = bool(address) and is_loopback(urlsplit(address).hostname or "") and not is_set
        return {"region_name": self.destination.region, "endpoint_url": address if is_emulator else None}

    def role_request(self) -> dict[str, Any]:
        request: dict[str, Any] = {
            "RoleArn": self.destination.role_arn,
            "RoleSessionName": SESSION_NAME,
            "DurationSeconds": ROLE_SECONDS,
        }
        if self.destination.external_id:
            request["ExternalId"] = self.destination.external_id
        return request

    def _keys(self) -> dict[str, str]:
        return self.stored.arguments() if self.stored else {}


class _RoleProvider:
    """A link of the SDK's chain that assumes the role, and again before the hour is over."""

    METHOD = "assume-role"
    CANONICAL_NAME = "AssumeRole"

    def __init__(self, identity: Identity, session: AioSession) -> None:
        self._identity = identity
        self._session = session

    async def load(self) -> AioDeferredRefreshableCredentials:
        return AioDeferredRefreshableCredentials(refresh_using=self._assume, method=self.METHOD)

    async def _assume(self) -> dict[str, str]:
        destination = self._identity.destination
        options = self._identity.sts_options()
        client = self._session.create_client("sts", **options, config=aio_config(destination))
        async with client as sts:
            said = await sts.assume_role(**self._identity.role_request())
        given = said["Credentials"]
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        }


def _options(destination: DestinationSettings) -> dict[str, Any]:
    seconds = destination.timeout.total_seconds()
    return {
        # Retrying is ours alone: the SDK's would multiply with it, and hide duplicates.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": seconds,
        "read_timeout": seconds,
        "max_pool_connections": destination.concurrency,
        "user_agent_extra": "forwarder",
    }


def aio_config(destination: DestinationSettings) -> AioConfig:
    return AioConfig(**_options(destination), http_session_cls=BoundedSession)


def config(destination: DestinationSettings) -> Config:
    return Config(**_options(destination))
