"""The suggestions for unknown names: the setting that is probably meant, or the vault for the name of a secret."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from forwarder.settings.models import ENV_DELIMITER, ENV_PREFIX, setting_names, variable
from forwarder.settings.sections import SECTIONS

_SECRETS = re.compile(
    r"(?:^|[._-])(?:api|alloy|aws|secret|session|admin|web|hook|master)?[._-]?(?:key|token|secret|password)s?(?:[._-]?id)?$"
    r"|access_?key|secret_?key|session_?token|api_?key|credentials?$"
)
"""Names of secrets, which no setting holds."""

_IN_THE_VAULT = "a secret belongs in the vault: `forwarder keys set NAME`"


def suggest(name: str) -> str:
    """Return a suggestion for an unknown name in the file, such as "did you mean source.workflows?"."""
    likely = find_nearest(name)
    if _spelled(likely) != _spelled(name) and _SECRETS.search(_snake(name)):
        return f"{_IN_THE_VAULT}, and remove it here"
    return f"did you mean {likely}?"


def suggest_for_variable(name: str) -> str:
    """Return a suggestion for an unknown variable, or an empty text if no setting has a similar name."""
    for key in setting_names():
        if _is_near(name, key):
            return f"did you mean {variable(key)}?"
    rest = name.upper().removeprefix(ENV_PREFIX)
    if _SECRETS.search(rest.lower()):
        return _IN_THE_VAULT
    close = get_close_matches(
        rest, [variable(key).removeprefix(ENV_PREFIX) for key in setting_names()], n=1, cutoff=0.85
    )
    return f"did you mean {ENV_PREFIX}{close[0]}?" if close else ""


def find_misspelled(key: str, environ: Iterable[str]) -> str:
    """Return a misspelled variable of a setting, such as one in lower case or with one underscore, or an empty text."""
    return next((name for name in sorted(environ) if name != variable(key) and _is_near(name, key)), "")


def _is_near(name: str, key: str) -> bool:
    return name.upper().startswith(ENV_PREFIX) and _spelled(name.upper().removeprefix(ENV_PREFIX)) == _spelled(key)


def find_nearest(key: str) -> str:
    """Return the known setting that an unknown one most likely means.

    This is the same key in another spelling, else the same key in another section, else the closest one.
    """
    *section, name = key.split(".")
    known = setting_names()
    sections = [f"[{title}]" for title, _ in SECTIONS]
    for candidate in (*known, *sections):
        if _spelled(candidate) == _spelled(key):
            return candidate
    for candidate in known:
        if _spelled(candidate.rpartition(".")[2]) == _spelled(name):
            return candidate
    if not section:
        return get_close_matches(_snake(name), [*known, *sections], n=1, cutoff=0)[0]
    siblings = [candidate for candidate in known if candidate.startswith(f"{section[0].lower()}.")]
    return get_close_matches(_snake(key), siblings or known, n=1, cutoff=0)[0]


def _snake(name: str) -> str:
    """Return a name as settings are written: `eventBus`, `event-bus` and `EVENT_BUS` become `event_bus`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _spelled(name: str) -> str:
    """Return the letters and digits of a name in lower case, without FORWARDER_. All spellings of a name are equal."""
    bare = _snake(name)
    if ENV_DELIMITER in bare:
        bare = bare.removeprefix(ENV_PREFIX.lower())
    return re.sub(r"[^a-z0-9]", "", bare)
