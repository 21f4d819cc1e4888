"""The links of the AWS credential chain: where each got its configuration, and what to do when it fails."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiobotocore.session import AioSession

from forwarder.aws.credential_sources import (
    ACCESS_KEY_ID,
    CONTAINER_TOKEN_FILE,
    CONTAINER_URIS,
    NUMBERS,
    ROLE_ARN,
    SECRET_ACCESS_KEY,
    SESSION_TOKENS,
    TOKEN_FILE,
    Profile,
    address,
    shown,
    state,
)

STORED = "explicit"
"""The SDK's name for credentials that were given to it: those of the vault."""
ENV = "env"
WEB_IDENTITY = "assume-role-with-web-identity"
PROFILE_ROLE = "assume-role"
SSO = "sso"
LOGIN = "login"
PROCESS = "custom-process"
CONTAINER = "container-role"
METADATA = "iam-role"
FILES = ("shared-credentials-file", "config-file")
ROLE = "role_arn"
"""Ours: the role of the settings, assumed with the credentials of another link."""

CONTAINER_HOSTS = "a loopback address, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]"


@dataclass(frozen=True, slots=True)
class Place:
    """A source of credentials, as a line names it, and the hint for the usual causes.

    `values` names the key id, the secret and the token as that place does.
    """

    name: str
    hint: str
    values: tuple[str, str, str] = ("AccessKeyId", "SecretAccessKey", "SessionToken")


def place_of(link: str, session: AioSession) -> Place:
    """Return the place of a link. Works whatever is wrong with variables and files."""
    return PLACES[link](session) if link in PLACES else _unknown(link, session)


def web_identity(session: AioSession) -> tuple[str, str]:
    """Return the path of the token file, and the name of the variable or the profile that sets it."""
    if TOKEN_FILE in os.environ:
        return os.environ[TOKEN_FILE], TOKEN_FILE
    profile = Profile.of(session)
    return profile.values(session).get("web_identity_token_file", ""), f"web_identity_token_file of {profile}"


def web_identity_role(session: AioSession) -> str:
    """Return the role, and the variable or the profile that names it."""
    if ROLE_ARN in os.environ:
        return f"{shown(os.environ[ROLE_ARN])} ({ROLE_ARN})"
    profile = Profile.of(session)
    return f"{shown(profile.values(session).get('role_arn', ''))} (role_arn of {profile})"


def container_uri() -> tuple[str, str]:
    """Return the address without what may be secret in it, and the variable that sets it."""
    relative, full = CONTAINER_URIS
    if relative in os.environ:
        return address(f"http://169.254.170.2{os.environ[relative]}"), relative
    return address(os.environ.get(full, "")) or "(empty)", full


def login_file(session: AioSession) -> str:
    """Return the file in which `aws sso login` caches the login of the profile, with its state."""
    values = Profile.of(session).values(session)
    key = values.get("sso_session") or values.get("sso_start_url", "")
    name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
    path = Path("~/.aws/sso/cache").expanduser() / f"{name}.json"
    return f"{shown(str(path))}{state(str(path))}"


def _stored(_session: AioSession) -> Place:
    return Place(
        "the vault",
        "store the keys again: `forwarder keys set aws-access-key-id`, then `aws-secret-access-key`"
        " (and `aws-session-token` for temporary keys)",
        ("aws-access-key-id", "aws-secret-access-key", "aws-session-token"),
    )


def _env(_session: AioSession) -> Place:
    token = next((name for name in SESSION_TOKENS if os.environ.get(name)), SESSION_TOKENS[-1])
    return Place(
        f"the variables {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}",
        "set both variables (with AWS_SESSION_TOKEN for temporary keys), or unset both to use another source",
        (ACCESS_KEY_ID, SECRET_ACCESS_KEY, token),
    )


def _files(session: AioSession) -> Place:
    profile = Profile.of(session)
    return Place(
        f"{profile} in {profile.file_with('aws_access_key_id')}",
        f"set aws_access_key_id and aws_secret_access_key there: `aws configure{profile.option}`",
        ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
    )


def _web_identity(session: AioSession) -> Place:
    path, origin = web_identity(session)
    return Place(
        f"the web identity token {shown(path)} ({origin})",
        "mount the token there (in EKS: annotate the service account with its role and recreate the pod),"
        f" or unset {TOKEN_FILE}",
    )


def _profile_role(session: AioSession) -> Place:
    profile = Profile.of(session)
    role = shown(profile.values(session).get("role_arn", ""))
    where = profile.file_with("role_arn")
    values = profile.values(session)
    key = next((key for key in ("source_profile", "credential_source") if key in values), "")
    source = f" with {key} {shown(values[key])}" if key else ""
    hint = f"correct {profile} and its source_profile or credential_source in {where}"
    return Place(f"the role {role} of {profile}{source} in {where}", hint)


def _sso(session: AioSession) -> Place:
    profile = Profile.of(session)
    where = profile.file_with("sso_account_id")
    return Place(f"the SSO login of {profile} in {where}", f"`aws sso login{profile.option}`")


def _login(session: AioSession) -> Place:
    profile = Profile.of(session)
    where = profile.file_with("login_session")
    return Place(f"the login session of {profile} in {where}", f"`aws login{profile.option}`")


def _process(session: AioSession) -> Place:
    profile = Profile.of(session)
    return Place(
        f"the credential_process of {profile} in {profile.file_with('credential_process')}",
        "run that command as the user of the forwarder, without a terminal:"
        ' it has to print JSON with "Version": 1, AccessKeyId and SecretAccessKey',
    )


def _container(_session: AioSession) -> Place:
    uri, variable = container_uri()
    file = os.environ.get(CONTAINER_TOKEN_FILE)
    token = f", with the token {shown(file)} ({CONTAINER_TOKEN_FILE})" if file is not None else ""
    return Place(
        f"the container's endpoint {uri} ({variable}){token}",
        "check that the task or the pod's service account has a role (in EKS: a Pod Identity association, and its"
        f" agent on the node) and that nothing blocks this address, or unset {variable}",
        ("AccessKeyId", "SecretAccessKey", "Token"),
    )


def _metadata(_session: AioSession) -> Place:
    return Place(
        "the instance's metadata",
        "attach a role to the instance; in a container, raise the metadata hop limit to 2",
        ("AccessKeyId", "SecretAccessKey", "Token"),
    )


def _role(_session: AioSession) -> Place:
    return Place("the role of the settings (destination.role_arn)", "correct destination.role_arn")


def _setup(session: AioSession) -> Place:
    profile = Profile.of(session)
    wrong = next((name for name in NUMBERS if not os.environ.get(name, "0").isdecimal()), "")
    name = f"the variable {wrong}" if wrong else f"the AWS_ variables and {profile} in {profile.files}"
    return Place(name, f"set {wrong} to a whole number, or unset it" if wrong else f"correct them for {profile}")


def _file_of(variable: str) -> Callable[[AioSession], Place]:
    def place(_session: AioSession) -> Place:
        path = os.environ.get(variable, "")
        return Place(f"the file {shown(path)}{state(path)} ({variable})", f"correct or unset {variable}")

    return place


def _unknown(link: str, _session: AioSession) -> Place:
    return Place(f"the source {link}", "use another source of AWS credentials")


PLACES: dict[str, Callable[[AioSession], Place]] = {
    "": _setup,
    STORED: _stored,
    ENV: _env,
    WEB_IDENTITY: _web_identity,
    PROFILE_ROLE: _profile_role,
    SSO: _sso,
    LOGIN: _login,
    PROCESS: _process,
    CONTAINER: _container,
    METADATA: _metadata,
    ROLE: _role,
    "ec2-credentials-file": _file_of("AWS_CREDENTIAL_FILE"),
    "boto-config": _file_of("BOTO_CONFIG"),
    **dict.fromkeys(FILES, _files),
}
