"""From a file and an environment to Settings, or to one error that names every fault and its mend."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from forwarder.errors import SettingsError
from forwarder.settings import form, names, pasted, syntax, text
from forwarder.settings.fields import ENV_PREFIX, SECTIONS, ListenerSettings, LocalSettings, Settings, keys, variable

# Variables of ours that are not settings.
OTHER_VARIABLES = frozenset({"FORWARDER_CONFIG", "FORWARDER_MASTER_KEY", "FORWARDER_MASTER_KEY_FILE"})

_NO_BOOLEAN = "is neither true nor false"
_NO_SECTION = "is not a section: write it once, as [section] in single brackets"

_WRONG_TYPES = {
    "string_pattern_mismatch": "has a form that is not possible there",
    "string_type": 'is not a text: put it in quotation marks, "…"',
    "tuple_type": 'is not a list: write ["…"], also for one item',
    "bool_parsing": _NO_BOOLEAN,
    "bool_type": _NO_BOOLEAN,
    "model_type": _NO_SECTION,
    "model_attributes_type": _NO_SECTION,
}
"""By the type of a fault, the end of a sentence that is clearer than the validator's."""

S = TypeVar("S", bound=LocalSettings)


@dataclass(frozen=True, slots=True)
class Place:
    """Where settings come from: a file, and variables over it. Paths in the file are relative to its folder."""

    file: Path
    environ: Mapping[str, str]

    def path(self, relative: str) -> Path:
        return self.file.parent / relative


def here(file: str | os.PathLike[str] | None = None) -> Place:
    """The file asked for, else `FORWARDER_CONFIG`, else `forwarder.toml`; and the process's environment."""
    name = file or os.environ.get("FORWARDER_CONFIG") or "forwarder.toml"
    return Place(Path(name).absolute(), dict(os.environ))


def load(place: Place, *, empty_is_valid: bool = True) -> Settings:
    """Raises SettingsError, which never holds a value: a secret may have been typed into the file by mistake.

    While a file is being replaced it may be empty for a moment. Where the environment holds the rest, that would be
    valid, and would switch on what is switched off; so a reload does not take it.
    """
    table = read_table(place.file)
    if not table and not empty_is_valid:
        raise SettingsError(f"{place.file} is empty", hint="bring its content back")
    return _load(Settings, place, table)


def validated(place: Place, table: dict[str, Any]) -> Settings:
    """As `load`, of a table that stands in no file yet. Raises SettingsError, with its faults."""
    return _load(Settings, place, table)


def load_local(place: Place) -> LocalSettings:
    """Those of this machine, whether the rest is valid or not. Raises SettingsError."""
    return _load_part(LocalSettings, place, read_table(place.file))


def load_listeners(place: Place) -> ListenerSettings:
    """Return the settings of the listeners, even if other sections are invalid. Raise SettingsError."""
    return _load_part(ListenerSettings, place, read_table(place.file))


def load_without_file(place: Place) -> ListenerSettings:
    """Return the listeners' defaults with the environment applied to them. Raise SettingsError."""
    return _load_part(ListenerSettings, place, {})


def _load_part(kind: type[S], place: Place, table: dict[str, Any]) -> S:
    return _load(kind, place, {key: table[key] for key in kind.model_fields if key in table})


def read_table(file: Path) -> dict[str, Any]:
    """In the format in force, whatever the file's own. Raises SettingsError."""
    content = ""
    try:
        content = _universal(text.read(file).text)
        table = tomllib.loads(content)
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {file}", hint="make one with `forwarder init`, or name it with -c"
        ) from None
    except RecursionError:
        raise SettingsError(f"{file} is not a settings file: it is nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        hint = syntax.cause_of(content, str(error))
        raise SettingsError(f"{file} is not valid TOML: {_place_in_toml(error)}", hint=hint) from None
    return form.brought_up(table, file)


def overridden(place: Place, key: str) -> str | None:
    """The variable that overrides a setting here, or None."""
    return variable(key) if variable(key) in place.environ else None


def unknown_variables(place: Place) -> list[str]:
    """Variables with our prefix that are no setting: worth a warning only, since others own that prefix too."""
    known = {variable(key) for key in keys()} | OTHER_VARIABLES
    return sorted(name for name in place.environ if name.upper().startswith(ENV_PREFIX) and name not in known)


class _Environment(EnvSettingsSource):
    """The variables of one place, those that name a setting only."""

    def __init__(self, kind: type[BaseSettings], environ: Mapping[str, str]) -> None:
        names = {variable(key) for key in keys()}
        self._ours = {name.lower(): pasted.trimmed(value) for name, value in environ.items() if name in names}
        super().__init__(kind, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._ours)


def _load(kind: type[S], place: Place, table: dict[str, Any]) -> S:
    try:
        return kind(**pasted.all_trimmed(_merged(table, _Environment(kind, place.environ)())))
    except ValidationError as error:
        faults = [_fault(details, place) for details in error.errors(include_input=False, include_url=False)]
    except (UnreadableVariable, RecursionError):  # nested beyond any reader
        faults = [(name, f'{name} is not JSON, e.g. ["a", "b"]') for name in _unreadable(place)]
    hint = f"edit {place.file}, or change the variable"
    raise SettingsError("; ".join(dict.fromkeys(told for _, told in faults)), hint=hint, faults=dict(faults))


def _merged(table: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """A variable overrides its one line, not the section around it."""
    merged = dict(table)
    for key, value in variables.items():
        own = merged.get(key, {})
        merged[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    return merged


def _unreadable(place: Place) -> list[str]:
    """The variables that set a list, and are none."""
    names = []
    for name, section in SECTIONS:
        for key, field in section.model_fields.items():
            value = place.environ.get(variable(f"{name}.{key}"))
            if isinstance(field.default, tuple) and value is not None and not _is_json(value):
                names.append(variable(f"{name}.{key}"))
    return names


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _fault(details: ErrorDetails, place: Place) -> tuple[str, str]:
    """The setting, and a sentence that names it."""
    path = [str(part) for part in details["loc"] if not str(part).startswith(("function-", "literal["))]
    key = ".".join(path[:2])
    section = dict(SECTIONS).get(key)
    if section and details["type"] == "value_error":  # of a whole section, and its first word is the field
        name, _, rest = details["msg"].removeprefix("Value error, ").partition(" ")
        if name in section.model_fields:
            key, details = f"{key}.{name}", {**details, "msg": rest}
    return key, _told(details, key, f"{key} (from {variable(key)})" if overridden(place, key) else key, place)


def _told(details: ErrorDetails, key: str, here: str, place: Place) -> str:
    match details["type"]:
        case "missing" | "extra_forbidden" if key in dict(SECTIONS):
            return f"[{key}] is missing: set {key}.event_bus and {key}.region"
        case "missing":
            near = names.misspelled(key, place.environ)
            noted = f"; {near} is not its name" if near else ""
            return f"{key} is missing: set it in the file or as {variable(key)}{noted}"
        case "extra_forbidden":
            return f"{key} is not a setting: {names.advice(key)}"
        case _ if here != key and not pasted.trimmed(place.environ[variable(key)]):
            return f"{here} is empty: unset it, or give it a value"
        case _:
            return f"{here}{_wrong(details)}"


def _wrong(details: ErrorDetails) -> str:
    """Return the end of a sentence about a value that is there."""
    if details["type"] == "value_error":
        return f" {details['msg'].removeprefix('Value error, ')}".rstrip()
    known = _WRONG_TYPES.get(details["type"])
    return f" {known}" if known else f": {details['msg'][:1].lower()}{details['msg'][1:]}"


def _universal(text: str) -> str:
    """TOML has no line end of a single carriage return, which some editors leave."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _place_in_toml(error: tomllib.TOMLDecodeError) -> str:
    """The parser's own words, unless they quote the file."""
    told = str(error)
    return told if "'" not in told and '"' not in told else f"syntax error {told[told.rfind('(') :]}"
