"""The providers of the AWS credential chain, with the configuration that each reads and a hint if it fails."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from aiobotocore.session import AioSession

from forwarder.aws.credential_sources import (
    ACCESS_KEY_ID,
    CONTAINER_TOKEN_FILE,
    CONTAINER_URIS,
    INTEGER_VARIABLES,
    ROLE_ARN,
    SECRET_ACCESS_KEY,
    SESSION_TOKENS,
    TOKEN_FILE,
    Profile,
    for_display,
    safe_address,
    unreadable_suffix,
)

STORED = "explicit"
"""The SDK's name for credentials that its caller passes. The forwarder passes those of the vault."""
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
"""Our name for the role of the settings, which is assumed with the credentials of another provider."""

CONTAINER_HOSTS = "a loopback address, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]"


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """A source of credentials: its name in messages, and a hint for the usual causes.

    `values` has the source's names of the key id, the secret and the token.
    """

    name: str
    hint: str
    values: tuple[str, str, str] = ("AccessKeyId", "SecretAccessKey", "SessionToken")


def source_of(provider: str, session: AioSession) -> CredentialSource:
    """Return the source of a provider. Invalid variables and files raise no error."""
    return SOURCES[provider](session) if provider in SOURCES else _unknown(provider, session)


def web_identity(session: AioSession) -> tuple[str, str]:
    """Return the path of the token file, and the variable or the profile that sets it."""
    if TOKEN_FILE in os.environ:
        return os.environ[TOKEN_FILE], TOKEN_FILE
    profile = Profile.of(session)
    return profile.values(session).get("web_identity_token_file", ""), f"web_identity_token_file of {profile}"


def web_identity_role(session: AioSession) -> str:
    """Return the role with the variable or the profile that sets it."""
    if ROLE_ARN in os.environ:
        return f"{for_display(os.environ[ROLE_ARN])} ({ROLE_ARN})"
    profile = Profile.of(session)
    return f"{for_display(profile.values(session).get('role_arn', ''))} (role_arn of {profile})"


def container_uri() -> tuple[str, str]:
    """Return the address without its secret parts, and the variable that sets it."""
    relative, full = CONTAINER_URIS
    if relative in os.environ:
        return safe_address(f"http://169.254.170.2{os.environ[relative]}"), relative
    return safe_address(os.environ.get(full, "")) or "(empty)", full


def login_file(session: AioSession) -> str:
    """Return the file in which `aws sso login` caches the login of the profile, with a note if it is unreadable."""
    values = Profile.of(session).values(session)
    key = values.get("sso_session") or values.get("sso_start_url", "")
    name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
    # Unlike `Path.expanduser`, this raises no error for a user without a name and a home.
    path = os.path.expanduser(f"~/.aws/sso/cache/{name}.json")  # noqa: PTH111  # as above
    return f"{for_display(path)}{unreadable_suffix(path)}"


def _stored(_session: AioSession) -> CredentialSource:
    return CredentialSource(
        "the vault",
        "store the keys again: `forwarder keys set aws-access-key-id`, then `aws-secret-access-key`"
        " (and `aws-session-token` for temporary keys)",
        ("aws-access-key-id", "aws-secret-access-key", "aws-session-token"),
    )


def _env(_session: AioSession) -> CredentialSource:
    token = next((name for name in SESSION_TOKENS if os.environ.get(name)), SESSION_TOKENS[-1])
    return CredentialSource(
        f"the variables {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}",
        "set both variables (with AWS_SESSION_TOKEN for temporary keys), or unset both to use another source",
        (ACCESS_KEY_ID, SECRET_ACCESS_KEY, token),
    )


def _files(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    return CredentialSource(
        f"{profile} in {profile.file_with('aws_access_key_id')}",
        f"set aws_access_key_id and aws_secret_access_key there: `aws configure{profile.option}`",
        ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
    )


def _web_identity(session: AioSession) -> CredentialSource:
    path, origin = web_identity(session)
    return CredentialSource(
        f"the web identity token {for_display(path)} ({origin})",
        "mount the token there (in EKS: annotate the service account with its role and recreate the pod),"
        f" or unset {TOKEN_FILE}",
    )


def _profile_role(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    role = for_display(profile.values(session).get("role_arn", ""))
    location = profile.file_with("role_arn")
    values = profile.values(session)
    key = next((key for key in ("source_profile", "credential_source") if key in values), "")
    source = f" with {key} {for_display(values[key])}" if key else ""
    hint = f"correct {profile} and its source_profile or credential_source in {location}"
    return CredentialSource(f"the role {role} of {profile}{source} in {location}", hint)


def _sso(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    location = profile.file_with("sso_account_id")
    return CredentialSource(f"the SSO login of {profile} in {location}", f"`aws sso login{profile.option}`")


def _login(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    location = profile.file_with("login_session")
    return CredentialSource(f"the login session of {profile} in {location}", f"`aws login{profile.option}`")


def _process(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    return CredentialSource(
        f"the credential_process of {profile} in {profile.file_with('credential_process')}",
        "run that command as the user of the forwarder, without a terminal:"
        ' it has to print JSON with "Version": 1, AccessKeyId and SecretAccessKey',
    )


def _container(_session: AioSession) -> CredentialSource:
    uri, variable = container_uri()
    file = os.environ.get(CONTAINER_TOKEN_FILE)
    token = f", with the token {for_display(file)} ({CONTAINER_TOKEN_FILE})" if file is not None else ""
    return CredentialSource(
        f"the container's endpoint {uri} ({variable}){token}",
        "check that the task or the pod's service account has a role (in EKS: a Pod Identity association, and its"
        f" agent on the node) and that nothing blocks this address, or unset {variable}",
        ("AccessKeyId", "SecretAccessKey", "Token"),
    )


def _metadata(_session: AioSession) -> CredentialSource:
    return CredentialSource(
        "the instance's metadata",
        "attach a role to the instance; in a container, raise the metadata hop limit to 2",
        ("AccessKeyId", "SecretAccessKey", "Token"),
    )


def _role(_session: AioSession) -> CredentialSource:
    return CredentialSource("the role of the settings (destination.role_arn)", "correct destination.role_arn")


def _setup(session: AioSession) -> CredentialSource:
    profile = Profile.of(session)
    wrong = next((name for name in INTEGER_VARIABLES if not os.environ.get(name, "0").isdecimal()), "")
    name = f"the variable {wrong}" if wrong else f"the AWS_ variables and {profile} in {profile.files}"
    return CredentialSource(
        name, f"set {wrong} to a whole number, or unset it" if wrong else f"correct them for {profile}"
    )


def _file_of(variable: str) -> Callable[[AioSession], CredentialSource]:
    def source(_session: AioSession) -> CredentialSource:
        path = os.environ.get(variable, "")
        return CredentialSource(
            f"the file {for_display(path)}{unreadable_suffix(path)} ({variable})", f"correct or unset {variable}"
        )

    return source


def _unknown(provider: str, _session: AioSession) -> CredentialSource:
    return CredentialSource(f"the source {provider}", "use another source of AWS credentials")


SOURCES: dict[str, Callable[[AioSession], CredentialSource]] = {
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
