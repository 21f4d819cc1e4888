"""The descriptions of the sources of AWS credentials: variables, profiles and files, without secrets."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError
from botocore.utils import METADATA_BASE_URL, get_environ_proxies

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  # the name of a variable
SESSION_TOKENS = ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
PROFILES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
"""The variables that name the profile. The SDK uses the first that is set. SESSION_TOKENS has the same order."""
FILE_VARIABLES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
ROLE_ARN = "AWS_ROLE_ARN"
TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105  # the name of a variable
CONTAINER_URIS = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
CONTAINER_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105  # the name of a variable
METADATA_DISABLED = "AWS_EC2_METADATA_DISABLED"
INTEGER_VARIABLES = (
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_MAX_ATTEMPTS",
    "AWS_CSM_PORT",
)
"""Variables that the SDK parses as integers."""

MAX_METADATA_SECONDS = 2.0
MAX_DISPLAYED_CHARACTERS = 200
"""The limit of a path, an address or a name in an error message."""

_ROLES = "latest/meta-data/iam/security-credentials/"
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"


def for_display(value: str) -> str:
    """Return a value with control characters escaped, cut to MAX_DISPLAYED_CHARACTERS."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)
    return plain if len(plain) <= MAX_DISPLAYED_CHARACTERS else f"{plain[:MAX_DISPLAYED_CHARACTERS]}…"


def safe_address(url: str) -> str:
    """Return an address without user, password, query and fragment, which can be secret."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not an address)"
    return for_display(f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path)


def format_fault(value: str) -> str:
    """Return the fault in the form of a key or a name, such as quotes around it, or an empty string."""
    if not value.strip():
        return "is empty" if not value else "contains only whitespace"
    if value.rstrip("\r\n") != value:
        return "ends with a line break"
    if value.strip() != value:
        return "begins or ends with whitespace"
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        return "has quotes around it"
    if re.search(r"\s", value):
        return "has whitespace inside"
    return "" if value.isascii() and value.isprintable() else "contains characters that no key has"


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of the shared AWS files that a session reads."""

    name: str
    variable: str
    config_file: str
    credentials_file: str

    @classmethod
    def of(cls, session: AioSession) -> "Profile":
        """Return the profile of a session. The files are not read, so invalid files raise no error."""
        variable = next((name for name in PROFILES if name in os.environ), "")
        return cls(
            os.environ[variable] if variable else "default",
            variable,
            _expanded(session.get_config_variable("config_file")),
            _expanded(session.get_config_variable("credentials_file")),
        )

    def __str__(self) -> str:
        return f'the profile "{for_display(self.name)}"{f" ({self.variable})" if self.variable else ""}'

    @property
    def files(self) -> str:
        """Return both files, each with the reason if it cannot be read."""
        return " and ".join(
            f"{path_with_variable(path)}{unreadable_suffix(path)}" for path in (self.config_file, self.credentials_file)
        )

    @property
    def option(self) -> str:
        """Return the option of AWS CLI commands that selects this profile."""
        return "" if self.name == "default" or format_fault(self.name) else f" --profile {for_display(self.name)}"

    def values(self, session: AioSession) -> dict[str, str]:
        """Return the settings of the profile, or an empty dict if it cannot be read."""
        try:
            found = session.full_config["profiles"].get(self.name, {})
        except (BotoCoreError, OSError, ValueError):
            return {}
        return {key: value for key, value in found.items() if isinstance(value, str)}

    def file_with(self, key: str) -> str:
        """Return the path of the file in which the profile sets the key. The credentials file has priority."""
        for path in (self.credentials_file, self.config_file):
            try:
                text = Path(path).read_text(errors="replace")
            except OSError:
                continue
            section = rf"(?ms)^\[\s*(?:profile\s+)?\"?{re.escape(self.name)}\"?\s*\]\s*$(.*?)(?=^\[|\Z)"
            if any(re.search(rf"(?m)^\s*{re.escape(key)}\s*[=:]", body) for body in re.findall(section, text)):
                return path_with_variable(path)
        return path_with_variable(self.config_file)


def path_with_variable(path: str) -> str:
    """Return the path of a shared file, with the variable that sets it."""
    variable = next((name for name in FILE_VARIABLES if path == _expanded(os.environ.get(name, ""))), "")
    return f"{for_display(path)} ({variable})" if variable else for_display(path)


def unreadable_suffix(path: str) -> str:
    """Return the reason why a file cannot be read, in brackets, or an empty string."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return " (not a file)"
        with Path(path).open("rb"):
            return ""
    except FileNotFoundError:
        return " (does not exist)"
    except (OSError, ValueError) as error:
        return f" ({strerror(error)})"


def strerror(error: Exception) -> str:
    """Return the operating system's message for an error, without the path."""
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__


def configured_address(session: AioSession, service: str) -> str:
    """Return the address of a service with the variable or the profile that sets it, or an empty string."""
    for variable in (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL"):
        if os.environ.get(variable):
            return f"{safe_address(os.environ[variable])} ({variable})"
    profile = Profile.of(session)
    if url := profile.values(session).get("endpoint_url"):
        return f"{safe_address(url)} (endpoint_url of {profile})"
    return ""


async def describe_missing(session: AioSession) -> str:
    """Return the reason why each source has no credentials."""
    profile = Profile.of(session)
    sources = [_environment(), f"{profile} has none in {profile.files}", _container(), await _metadata(session)]
    return "; ".join(source for source in sources if source)


def _environment() -> str:
    if os.environ.get(SECRET_ACCESS_KEY) and not os.environ.get(ACCESS_KEY_ID):
        return f"{SECRET_ACCESS_KEY} is set, but {ACCESS_KEY_ID} is {_missing_state(ACCESS_KEY_ID)}"
    missing = f"{ACCESS_KEY_ID} is {_missing_state(ACCESS_KEY_ID)}"
    if os.environ.get(ROLE_ARN):
        return f"{missing}; {ROLE_ARN} is set, but {TOKEN_FILE} is {_missing_state(TOKEN_FILE)}"
    return missing


def _missing_state(variable: str) -> str:
    return "empty" if variable in os.environ else "not set"


def _container() -> str:
    return f"{' and '.join(CONTAINER_URIS)} are not set"


def metadata_disabled() -> bool:
    return os.environ.get(METADATA_DISABLED, "").lower() == "true"


async def _metadata(session: AioSession) -> str:
    """Request instance metadata, and return the reason why it has no credentials. The SDK does not report it."""
    if metadata_disabled():
        return f"instance metadata is disabled by {METADATA_DISABLED}"
    try:
        base = session.get_config_variable("ec2_metadata_service_endpoint") or METADATA_BASE_URL
    except BotoCoreError:
        base = METADATA_BASE_URL
    base = base.rstrip("/") + "/"
    name = f"instance metadata at {safe_address(base)}"
    proxy = get_environ_proxies(base).get(urlsplit(base).scheme)
    if proxy:
        host = urlsplit(base).hostname
        return f"{name} is requested through the proxy {safe_address(proxy)}: add {host} to NO_PROXY"
    try:
        return f"{name} {await _metadata_response(base)}"
    except TimeoutError:
        return (
            f"{name} does not respond within {MAX_METADATA_SECONDS:g} s"
            " (in a container on an instance, raise its metadata hop limit to 2)"
        )
    except (aiohttp.ClientError, OSError, ValueError):
        return f"{name} cannot be reached"


async def _metadata_response(base: str) -> str:
    whole = aiohttp.ClientTimeout(total=MAX_METADATA_SECONDS)
    async with aiohttp.ClientSession(timeout=whole) as http:
        lifetime = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
        async with http.put(f"{base}latest/api/token", headers=lifetime, allow_redirects=False) as response:
            token = await response.text() if response.ok else ""
            if not token.strip():
                return f"responds with {response.status} to the request for a token"
        headers = {"x-aws-ec2-metadata-token": token}
        async with http.get(base + _ROLES, headers=headers, allow_redirects=False) as response:
            if not response.ok or not (await response.text()).strip():
                return "responds, but the instance has no role: attach an instance profile"
        return "names a role, but returns no credentials for it: check the role's trust in ec2.amazonaws.com"


def _expanded(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111  # the same expansion as in the SDK
