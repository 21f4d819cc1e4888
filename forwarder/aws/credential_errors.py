"""The errors of the AWS credential chain. Each has one line with the cause and the file or variable, and a hint.

An error never contains a secret. It names variables, files, profiles and addresses, and describes only the form of
values.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, ConfigParseError, ProfileNotFound
from botocore.parsers import ResponseParserError

from forwarder import network_errors
from forwarder.aws.connection_errors import empty_bundle_error
from forwarder.aws.credential_causes import KEYS_HINT, NetworkError, find_cause
from forwarder.aws.credential_providers import (
    CONTAINER,
    LOGIN,
    METADATA,
    PROFILE_ROLE,
    ROLE,
    SSO,
    WEB_IDENTITY,
    CredentialSource,
    source_of,
)
from forwarder.aws.credential_responses import sts_error
from forwarder.aws.credential_sources import Profile, describe_missing, for_display, format_fault
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable

CODE = "credentials"
"""The code of every refusal in this module. A code of STS, such as AccessDenied, would count as a code of the bus."""

STS_PROVIDERS = (WEB_IDENTITY, PROFILE_ROLE, ROLE)
"""Providers whose credentials come from STS."""

MESSAGE_PREFIX = "no usable AWS credentials from"

_KEY_ID = re.compile(r"[\w.-]+", re.ASCII)
_LOOKS_LIKE_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,}")


def provider_error(
    error: Exception,
    provider: str,
    session: AioSession,
    *,
    source: CredentialSource | None = None,
    prefix: str = MESSAGE_PREFIX,
) -> DestinationError:
    """Return the error for an exception of a provider. `provider` is the SDK's name of the provider, or ROLE."""
    if isinstance(error, TimeoutError):  # a caller with its own time limit does not know the provider
        provider = provider or str(getattr(session, "provider", ""))
    if known := error if isinstance(error, DestinationError) else empty_bundle_error(error):
        return known
    source = source or source_of(provider, session)
    prefix = f"{prefix} {source.name}"
    match error:
        case ProfileNotFound():
            return _profile_missing(session)
        case ClientError():
            return sts_error(error, provider, session, prefix, source.hint)
        case _ if isinstance(error, ResponseParserError) or (isinstance(error, KeyError) and provider in STS_PROVIDERS):
            return not_aws_error(prefix)
        case _ if isinstance(error, NetworkError) and provider not in (CONTAINER, METADATA):
            return _unreachable(error, provider, session, prefix)
    cause, hint = find_cause(error, provider, session)
    prefix = "no AWS credentials can be used" if isinstance(error, ConfigParseError) else prefix
    return DestinationRefused(f"{prefix}: {cause}", code=CODE, hint=hint or source.hint)


def not_aws_error(prefix: str) -> DestinationError:
    hint = "an intermediary responds in place of AWS: check proxies and AWS_ENDPOINT_URL"
    return DestinationUnavailable(f"{prefix}: the response is not from AWS", code="not-aws", hint=hint)


async def no_credentials_error(session: AioSession) -> DestinationError:
    """Return the error for a chain without credentials. The message describes the state of each source."""
    return DestinationRefused(f"no AWS credentials found: {await describe_missing(session)}", code=CODE, hint=KEYS_HINT)


def check_key_format(keys: Any, provider: str, session: AioSession) -> None:
    """Raise DestinationRefused if a key has an invalid form. The error does not contain the key."""
    source = source_of(provider, session)
    for name, value in zip(source.values, (keys.access_key, keys.secret_key, keys.token), strict=True):
        is_token = name == source.values[2]
        if is_token and not value:
            continue
        if fault := _fault(value, is_key_id=name == source.values[0]):
            hint = f"set {name} to the bare value, on one line, without quotes or spaces"
            raise DestinationRefused(f"{MESSAGE_PREFIX} {source.name}: {name} {fault}", code=CODE, hint=hint)


def _fault(value: object, *, is_key_id: bool) -> str:
    if not isinstance(value, str):
        return "is missing" if value is None else "is not a text"
    if fault := format_fault(value):
        return fault
    if is_key_id and not _KEY_ID.fullmatch(value):
        return "is not an access key id (are the id and the secret swapped?)"
    if not is_key_id and _LOOKS_LIKE_KEY_ID.fullmatch(value):
        return "looks like an access key id (are the id and the secret swapped?)"
    return ""


def _profile_missing(session: AioSession) -> DestinationError:
    profile = Profile.of(session)
    fault = format_fault(profile.name)
    fix = f"correct or unset {profile.variable or 'AWS_PROFILE'}"
    fix += "" if fault else f", or add the profile: `aws configure{profile.option}`"
    return DestinationRefused(
        f"no AWS credentials can be used: {profile} is not in {profile.files}{f': the name {fault}' if fault else ''}",
        code=CODE,
        hint=f"{fix}; keys stored with `forwarder keys set` need no profile",
    )


def _unreachable(error: NetworkError, provider: str, session: AioSession, prefix: str) -> DestinationError:
    service = {SSO: "AWS IAM Identity Center", LOGIN: "AWS sign-in"}.get(provider, "AWS STS")
    host = urlsplit(str(error.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2]
    variable, environ = _ca_bundle(session)
    target = f"{service} at {for_display(host)}" if host else service
    problem = network_errors.explain(error, target=target, ca_variable=variable, environ=environ)
    if problem is None:
        inner = error.kwargs.get("error")
        cause = type(error).__name__ if inner is None else type(inner).__name__
        problem = network_errors.NetworkProblem(f"{target} cannot be reached: {cause}", "check the network")
    hint = problem.hint
    if "resolved" in problem.message and provider != SSO:
        hint = f"check destination.region, which is part of the host name; {hint}"
    return DestinationUnavailable(f"{prefix}: {problem.message}", code="unreachable", hint=hint)


def _ca_bundle(session: AioSession) -> tuple[str, dict[str, str] | None]:
    """Return the name of the setting for trusted certificates, and the environment that contains it."""
    profile = Profile.of(session)
    bundle = profile.values(session).get("ca_bundle")
    if not bundle or session.get_config_variable("ca_bundle") != bundle:
        return "AWS_CA_BUNDLE", None
    name = f"ca_bundle of {profile} in {profile.file_with('ca_bundle')}"
    return name, {name: bundle}
