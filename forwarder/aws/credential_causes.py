"""The cause and the hint for each error of the AWS credential chain, by provider and by exception."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    MissingDependencyException,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    RefreshWithMFAUnsupportedError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import (
    ConnectionError as SdkConnectionError,
)

from forwarder.aws.credential_providers import (
    CONTAINER,
    CONTAINER_HOSTS,
    ENV,
    METADATA,
    PROCESS,
    SSO,
    WEB_IDENTITY,
    login_file,
)
from forwarder.aws.credential_sources import ROLE_ARN, TOKEN_FILE, Profile, for_display, path_with_variable, strerror
from forwarder.redaction import sanitize

MAX_QUOTED_CHARACTERS = 300
"""The maximum length of a quotation from a message of the SDK or of a program."""

KEYS_HINT = (
    "store keys: `forwarder keys set aws-access-key-id`, then `forwarder keys set aws-secret-access-key`;"
    " or give the machine, the pod or the task a role"
)
CLOCK_HINT = "check this machine's clock, then renew them"
METADATA_HOST = "169.254.169.254"
MFA_HINT = "use a role without mfa_serial: a daemon cannot enter the code of a device"

NetworkError = HTTPClientError | SdkConnectionError
"""The two base classes of the SDK's connection errors."""

Cause = tuple[str, str]
"""A cause and a hint. An empty hint means the hint of the credential source."""


class ProcessError(Exception):
    """A failed `credential_process`. The message is safe to display."""

    @classmethod
    def from_exit(cls, program: str, code: int, error_output: bytes) -> "ProcessError":
        ending = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        lines = [line.strip() for line in error_output.decode(errors="replace").splitlines() if line.strip()]
        # The last line of a traceback or of a usage message has the reason.
        last_line = sanitize(lines[-1])[:MAX_QUOTED_CHARACTERS] if lines else ""
        return cls(f"{program} {ending}{f': {last_line}' if last_line else ''}")


class MfaRequiredError(Exception):
    """A profile that requires the code of an MFA device."""


def _environment(error: Exception, _session: AioSession) -> Cause | None:
    if isinstance(error, RuntimeError):
        return "AWS_CREDENTIAL_EXPIRATION is over", CLOCK_HINT
    if isinstance(error, ValueError | OverflowError):
        return "AWS_CREDENTIAL_EXPIRATION is not a time", "correct or unset AWS_CREDENTIAL_EXPIRATION"
    return None


def _web_identity(error: Exception, _session: AioSession) -> Cause | None:
    if isinstance(error, InvalidConfigError):
        return f"{ROLE_ARN} is not set", f"set {ROLE_ARN} to the role to assume, or unset {TOKEN_FILE}"
    if not isinstance(error, ParamValidationError):
        return None
    if "WebIdentityToken" in str(error):
        return "the file holds no token", ""
    return f"{ROLE_ARN} or AWS_ROLE_SESSION_NAME is not valid", f"correct {ROLE_ARN}: arn:aws:iam::ACCOUNT:role/NAME"


def _sso(error: Exception, session: AioSession) -> Cause | None:
    match error:
        case SSOTokenLoadError() | KeyError() | TypeError() | ValueError() | AttributeError():
            return f"there is no usable login in {login_file(session)}", ""
        case UnauthorizedSSOTokenError() | TokenRetrievalError():
            return "the login has expired", ""
        case InvalidConfigError():
            return _sdk_message(error), f"correct that profile: `aws configure sso{Profile.of(session).option}`"
        case _:
            return None


CONTAINER_CAUSES: tuple[tuple[str, str, str], ...] = (
    ("header value", "the token holds a line break", "write the token on one line, without a line break at its end"),
    ("Unsupported host", "the SDK requests no credentials from this host", f"use https, {CONTAINER_HOSTS}"),
    (
        r"(?is)non 200 response (\d+) .*\bexpired?\b",
        r"it responds with status \1, because the token has expired",
        "something has to renew the token: recreate the pod; check the clock too",
    ),
    (r"non 200 response (\d+)", r"it responds with status \1", ""),
    ("parse JSON|utf-8", "its response is not JSON", ""),
    ("[Tt]imeout", "it does not respond in time", ""),
    ("Could not connect", "it cannot be reached", ""),
    ("netloc|IPv6|URL|[Pp]ort", "this is not an address", f"use https, {CONTAINER_HOSTS}"),
)
"""Rows of a pattern in the SDK's message, a cause and a hint. The first matching row is used."""


def _container(error: Exception, _session: AioSession) -> Cause | None:
    if isinstance(error, TypeError | AttributeError):
        return "its response is not a JSON object", ""
    if isinstance(error, UnicodeEncodeError) or not isinstance(
        error, CredentialRetrievalError | NetworkError | ValueError
    ):
        return None
    for pattern, cause, hint in CONTAINER_CAUSES:
        if found := re.search(pattern, str(error)):
            return found.expand(cause), hint
    return ("its response contains no readable time" if isinstance(error, ValueError) else "it cannot be reached"), ""


def _process(error: Exception, _session: AioSession) -> Cause | None:
    return ("its output is not a JSON object", "") if isinstance(error, AttributeError | TypeError) else None


def _metadata(error: Exception, _session: AioSession) -> Cause | None:
    is_proxy = isinstance(error, ProxyConnectionError)
    return ("it is requested through a proxy", f"add {METADATA_HOST} to NO_PROXY") if is_proxy else None


CAUSES_BY_PROVIDER: Mapping[str, Callable[[Exception, AioSession], Cause | None]] = {
    ENV: _environment,
    WEB_IDENTITY: _web_identity,
    SSO: _sso,
    PROCESS: _process,
    CONTAINER: _container,
    METADATA: _metadata,
}
"""The causes that are specific to one provider."""


def _os_error(error: OSError) -> Cause:
    path = f"{for_display(str(error.filename))}: " if error.filename is not None else ""
    return f"{path}{strerror(error)}", ""


def _runtime_error(error: RuntimeError) -> Cause:
    is_expired = "expired" in str(error)
    return ("the credentials that it gives have expired", CLOCK_HINT) if is_expired else (type(error).__name__, "")


def _config_error(error: ConfigParseError) -> Cause:
    """Return a cause that names the file and the line, but not the text of the line, which can be a key."""
    path, cause = path_with_variable(str(error.kwargs.get("path"))), error.kwargs.get("error")
    line = getattr(cause, "lineno", None) or next((number for number, _ in getattr(cause, "errors", ())), None)
    location = f"{path}, line {line}" if line else path
    if isinstance(cause, UnicodeError):
        return f"{path} is not text in UTF-8", "write that file again as plain text: `aws configure`"
    return (
        f"{location}, cannot be read",
        f"correct {location}: sections as [profile NAME] ([NAME] in a credentials file), lines as name = value",
    )


def _sdk_message(error: BotoCoreError, key: str = "") -> str:
    """Return the SDK's message on one line, redacted and limited in length."""
    text = str(error.kwargs.get(key, "")) if key else str(error)
    return sanitize(" ".join(text.split()))[:MAX_QUOTED_CHARACTERS] or type(error).__name__


Row = tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], Cause]]

CAUSES_BY_EXCEPTION: tuple[Row, ...] = (
    (ConfigParseError, _config_error),
    (ProcessError, lambda error: (str(error), "")),
    ((MfaRequiredError, RefreshWithMFAUnsupportedError), lambda _: ("it requires the code of an MFA device", MFA_HINT)),
    (
        InfiniteLoopConfigError,
        lambda error: (
            _sdk_message(error),
            "give one profile of that loop keys of its own instead of a source_profile",
        ),
    ),
    (
        PartialCredentialsError,
        lambda error: (f"{for_display(str(error.kwargs.get('cred_var')))} is missing or empty", ""),
    ),
    (CredentialRetrievalError, lambda error: (_sdk_message(error, "error_msg"), "")),
    (MissingDependencyException, lambda _: ("this login needs botocore[crt], which is not installed", KEYS_HINT)),
    ((HTTPClientError, SdkConnectionError), lambda error: (f"no connection ({type(error).__name__})", "")),
    (BotoCoreError, lambda error: (_sdk_message(error), "")),
    (json.JSONDecodeError, lambda _: ("its output is not JSON", "")),
    (UnicodeError, lambda _: ("it contains bytes or characters that are not allowed there", "")),
    (TimeoutError, lambda _: ("no response in time", "")),
    (OSError, _os_error),
    (KeyError, lambda error: (f"{for_display(str(error.args[0] if error.args else ''))} is missing", "")),
    (RuntimeError, _runtime_error),
    (ValueError, lambda error: (f"a value there cannot be read ({type(error).__name__})", "")),
)
"""The cause and the hint for each class of errors, for every provider. The first matching row is used."""


def find_cause(error: Exception, provider: str, session: AioSession) -> Cause:
    """Return the cause and the hint for an error of any class."""
    if provider in CAUSES_BY_PROVIDER and (cause := CAUSES_BY_PROVIDER[provider](error, session)):
        return cause
    return next(
        (cause(error) for exc_type, cause in CAUSES_BY_EXCEPTION if isinstance(error, exc_type)),
        (type(error).__name__, ""),
    )
