"""The settings page's form: what it shows of the settings and the vault, and what it writes back to both.

A secret goes one way: it can be set or removed, and what is told of it is that it is set, its end, and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from forwarder import files
from forwarder.errors import SettingsError, VaultError
from forwarder.model import Feed
from forwarder.settings import Place, Settings, load_local, pasted
from forwarder.settings.edit import Value, set_values
from forwarder.settings.load import overridden, read_table, validated
from forwarder.vault import ALLOY_API_KEY, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, NAMES, Vault
from forwarder.vault.secret_values import check, refuse_token
from forwarder.web.words import sentence

OF_USER = " user="
"""Between a workflow's id and a user's, on a line of the list of workflows."""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting on the page. `name` is its dotted name, which is also that of the input."""

    name: str
    label: str
    hint: str = ""
    kind: Literal["text", "lines", "tick"] = "text"
    placeholder: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    label: str
    hint: str = ""


AWS_SECRETS = (
    Secret(AWS_ACCESS_KEY_ID, "Access key ID"),
    Secret(AWS_SECRET_ACCESS_KEY, "Secret access key"),
    Secret(AWS_SESSION_TOKEN, "Session token", "Only for temporary keys."),
)
ALLOY_SECRETS = (Secret(ALLOY_API_KEY, "API key"),)

AWS_FIELDS = (
    Field("destination.event_bus", "Event bus", "Its name or ARN.", placeholder="alloy-failures", required=True),
    Field("destination.region", "Region", placeholder="eu-west-1", required=True),
    Field("destination.role_arn", "Role ARN", "Assumed on top of the keys.",
          placeholder="arn:aws:iam::123456789012:role/forwarder"),
    Field("destination.external_id", "External ID", "If the role asks for one."),
    Field("event.source", "Source", "The source of each event.", required=True),
    Field("event.detail_type", "Detail type", "The detail-type of each event.", required=True),
)  # fmt: skip
ALLOY_FIELDS = (
    Field("source.version", "API version", "As in the path; empty for none.", placeholder="2024-03"),
    Field("source.workflows", "Workflows", "One ID a line; for one user alone, add user= and the user's ID.", "lines",
          placeholder="64f1a2c9e1\n64f1a2c9e1 user=u-42"),
    Field("source.discover", "Also every workflow of every user", kind="tick"),
)  # fmt: skip
FIELDS = AWS_FIELDS + ALLOY_FIELDS


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a person sent: settings by their names, secrets that are new, names of those to be removed."""

    values: Mapping[str, Value] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    removed: Sequence[str] = ()

    @property
    def changed(self) -> list[str]:
        """The names alone, for the log."""
        return [*self.values, *self.secrets, *self.removed]


def shown(settings: Settings, name: str) -> str:
    """A setting as it stands in its input."""
    section, _, key = name.partition(".")
    value = getattr(getattr(settings, section), key)
    match value:
        case bool():
            return "on" if value else ""
        case tuple():
            return "\n".join(_line(feed) for feed in value)
        case _:
            return str(value)


def submitted(place: Place, settings: Settings, given: Mapping[str, str]) -> Submitted:
    """What differs from the settings; what the environment overrides is left out, for it cannot be changed here."""
    values = {
        each.name: _value(each, text)
        for each in FIELDS
        if not overridden(place, each.name)
        and (text := _tidy(given.get(each.name, ""))) != _tidy(shown(settings, each.name))
    }
    secrets = {name: text for name in NAMES if (text := pasted.trimmed(given.get(name, "")))}
    removed = tuple(name for name in NAMES if given.get(f"remove {name}") and name not in secrets)
    return Submitted(values, secrets, removed)


def save(place: Place, given: Submitted, now: datetime) -> dict[str, str]:
    """What is wrong, by the name of the input, or under "" for all; nothing is written unless all of it is well.

    Raises SettingsError, VaultError where a file cannot be read or written, or is not valid as it stands.
    """
    local = load_local(place)
    faults = _faults_of_secrets(Vault.open(place, local), given) | _faults_of_values(place, given)
    if faults:
        return faults
    if given.values:
        set_values(place, given.values)
    with files.locked(place.path(local.vault.file).resolve().parent):
        vault = Vault.open(place, local)
        for name, value in given.secrets.items():
            vault.set(name, value, now)
        for name in given.removed:
            vault.remove(name)
    return {}


def candidate(place: Place, given: Submitted) -> Settings:
    """What would be in force with these values. Raises SettingsError, with its faults."""
    table = read_table(place.file)
    for name, value in given.values.items():
        section, _, key = name.partition(".")
        table.setdefault(section, {})[key] = value
    return validated(place, table)


def _faults_of_values(place: Place, given: Submitted) -> dict[str, str]:
    try:
        candidate(place, given)
    except SettingsError as error:
        if not error.faults:
            raise
        return sentences(error)
    return {}


def sentences(error: SettingsError) -> dict[str, str]:
    """The faults as they stand beside their inputs, which name the setting already; others under ""."""
    known = {each.name for each in FIELDS}
    faults = {
        name: sentence(told.removeprefix(name).lstrip(": ")) for name, told in error.faults.items() if name in known
    }
    if others := [told for name, told in error.faults.items() if name not in known]:
        faults[""] = sentence("; ".join(others))
    return faults


def _faults_of_secrets(vault: Vault, given: Submitted) -> dict[str, str]:
    faults = {}
    for name, value in given.secrets.items():
        try:
            check(name, value)
            refuse_token(name, value, vault.digests())
        except VaultError as error:
            faults[name] = sentence(error.message.removeprefix(name).strip())
    held = {name for name in NAMES if vault.set_at(name) is not None}
    held = (held | set(given.secrets)) - set(given.removed)
    if held & {AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN}:
        for name in (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY):
            if name not in held:
                faults.setdefault(name, "Is missing: an AWS key has both parts, or none of them is stored")
    return faults


def _value(each: Field, text: str) -> Value:
    match each.kind:
        case "tick":
            return bool(text)
        case "lines":
            return [_workflow(line) for line in text.splitlines()]
        case "text":
            return text


def _tidy(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _workflow(line: str) -> str | dict[str, str]:
    workflow_id, is_of_user, user_id = line.rpartition(OF_USER)
    return {"id": workflow_id.strip(), "user_id": user_id.strip()} if is_of_user else line


def _line(feed: Feed) -> str:
    return feed.workflow_id if feed.user_id is None else f"{feed.workflow_id}{OF_USER}{feed.user_id}"
