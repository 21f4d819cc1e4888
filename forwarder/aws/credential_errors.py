"""The error for every failure of the AWS credential chain: one line with cause, file or variable, and a hint.

An error never repeats a secret: it names variables, files, profiles and addresses, and of values only their form.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, ConfigParseError, ProfileNotFound
from botocore.parsers import ResponseParserError

from forwarder import network_errors
from forwarder.aws.credential_causes import KEYS_HINT, NetworkError, cause_of
from forwarder.aws.credential_links import (
    CONTAINER,
    LOGIN,
    METADATA,
    PROFILE_ROLE,
    ROLE,
    SSO,
    WEB_IDENTITY,
    Place,
    place_of,
)
from forwarder.aws.credential_refusals import refused
from forwarder.aws.credential_sources import Profile, oddity, shown, tried
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable

CODE = "credentials"
"""The code of every refusal here. A code of STS, such as AccessDenied, would count as one of the bus."""

OF_STS = (WEB_IDENTITY, PROFILE_ROLE, ROLE)
"""Links whose credentials come from STS."""

CLAIM = "no usable AWS credentials from"

_KEY_ID = re.compile(r"[\w.-]+", re.ASCII)
_LOOKS_LIKE_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,}")


def explain(
    error: Exception, link: str, session: AioSession, *, place: Place | None = None, claim: str = CLAIM
) -> DestinationError:
    """Return the error for what a link of the chain raised. `link` is the SDK's name of it, or one of ours."""
    if isinstance(error, TimeoutError):  # a caller that gave up does not know the link
        link = link or str(getattr(session, "link", ""))
    place = place or place_of(link, session)
    claim = f"{claim} {place.name}"
    match error:
        case DestinationError():
            return error
        case ProfileNotFound():
            return _no_profile(session)
        case ClientError():
            return refused(error, link, session, claim, place.hint)
        case _ if isinstance(error, ResponseParserError) or (isinstance(error, KeyError) and link in OF_STS):
            return not_aws(claim)
        case _ if isinstance(error, NetworkError) and link not in (CONTAINER, METADATA):
            return _unreachable(error, link, session, claim)
    cause, hint = cause_of(error, link, session)
    claim = "no AWS credentials can be used" if isinstance(error, ConfigParseError) else claim
    return DestinationRefused(f"{claim}: {cause}", code=CODE, hint=hint or place.hint)


def not_aws(claim: str) -> DestinationError:
    hint = "something between here and AWS answers in its place: check proxies and AWS_ENDPOINT_URL"
    return DestinationUnavailable(f"{claim}: the answer is not from AWS", code="not-aws", hint=hint)


async def none_found(session: AioSession) -> DestinationError:
    """Return the error for a chain that has no credentials, with what each source lacks."""
    return DestinationRefused(f"no AWS credentials found: {await tried(session)}", code=CODE, hint=KEYS_HINT)


def check_form(keys: Any, link: str, session: AioSession) -> None:
    """Raise DestinationRefused if a value cannot be what it should be. Its own text is not repeated."""
    place = place_of(link, session)
    for name, value in zip(place.values, (keys.access_key, keys.secret_key, keys.token), strict=True):
        is_token = name == place.values[2]
        if is_token and not value:
            continue
        if fault := _fault(value, is_key_id=name == place.values[0]):
            hint = f"set {name} to the bare value, on one line, without quotes or spaces"
            raise DestinationRefused(f"{CLAIM} {place.name}: {name} {fault}", code=CODE, hint=hint)


def _fault(value: object, *, is_key_id: bool) -> str:
    if not isinstance(value, str):
        return "is missing" if value is None else "is not a text"
    if odd := oddity(value):
        return odd
    if is_key_id and not _KEY_ID.fullmatch(value):
        return "is not an access key id (are the id and the secret swapped?)"
    if not is_key_id and _LOOKS_LIKE_KEY_ID.fullmatch(value):
        return "looks like an access key id (are the id and the secret swapped?)"
    return ""


def _no_profile(session: AioSession) -> DestinationError:
    profile = Profile.of(session)
    odd = oddity(profile.name)
    fix = f"correct or unset {profile.variable or 'AWS_PROFILE'}"
    fix += "" if odd else f", or add the profile: `aws configure{profile.option}`"
    return DestinationRefused(
        f"no AWS credentials can be used: {profile} is not in {profile.files}{f': the name {odd}' if odd else ''}",
        code=CODE,
        hint=f"{fix}; keys stored with `forwarder keys set` need no profile",
    )


def _unreachable(error: NetworkError, link: str, session: AioSession, claim: str) -> DestinationError:
    service = {SSO: "AWS IAM Identity Center", LOGIN: "AWS sign-in"}.get(link, "AWS STS")
    host = urlsplit(str(error.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2]
    variable, environ = _bundle(session)
    target = f"{service} at {shown(host)}" if host else service
    problem = network_errors.explain(error, target=target, ca_variable=variable, environ=environ)
    if problem is None:
        beneath = error.kwargs.get("error")
        cause = type(error).__name__ if beneath is None else type(beneath).__name__
        problem = network_errors.NetworkProblem(f"{target} cannot be reached: {cause}", "check the network")
    hint = problem.hint
    if "resolved" in problem.message and link != SSO:
        hint = f"check destination.region, which is part of the host name; {hint}"
    return DestinationUnavailable(f"{claim}: {problem.message}", code="unreachable", hint=hint)


def _bundle(session: AioSession) -> tuple[str, dict[str, str] | None]:
    """Return what names the trusted certificates: a variable of the environment, or a profile's setting."""
    profile = Profile.of(session)
    bundle = profile.values(session).get("ca_bundle")
    if not bundle or session.get_config_variable("ca_bundle") != bundle:
        return "AWS_CA_BUNDLE", None
    name = f"ca_bundle of {profile} in {profile.file_with('ca_bundle')}"
    return name, {name: bundle}
