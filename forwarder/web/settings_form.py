"""The form of the settings page, and the changes that it saves to the settings file and the vault.

A secret is write-only: it can be set or removed. The page shows that it is set, its last characters, and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from forwarder import atomicfile
from forwarder.errors import SettingsError, VaultError
from forwarder.model import Feed
from forwarder.settings import ConfigSource, Settings, load_local, pasted
from forwarder.settings.edit import Value, set_values
from forwarder.settings.load import overriding_variable, read_table, validate_table
from forwarder.vault import ALLOY_API_KEY, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, NAMES, Vault
from forwarder.vault.secret_values import reject_own_token, validate_secret
from forwarder.web.formatting import capitalize_first

USER_SEPARATOR = " user="
"""The text between the id of a workflow and the id of a user, on a line of the list of workflows."""


@dataclass(frozen=True, slots=True)
class FormField:
    """A setting on the page. `name` is its dotted name, and the name of its input."""

    name: str
    label: str
    hint: str = ""
    input_type: Literal["text", "lines", "checkbox"] = "text"
    placeholder: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class SecretField:
    name: str
    label: str
    hint: str = ""


AWS_SECRETS = (
    SecretField(AWS_ACCESS_KEY_ID, "Access key ID"),
    SecretField(AWS_SECRET_ACCESS_KEY, "Secret access key"),
    SecretField(AWS_SESSION_TOKEN, "Session token", "Only for temporary keys."),
)
ALLOY_SECRETS = (SecretField(ALLOY_API_KEY, "API key"),)

AWS_FIELDS = (
    FormField("destination.event_bus", "Event bus", "Its name or ARN.", placeholder="alloy-failures", required=True),
    FormField("destination.region", "Region", placeholder="eu-west-1", required=True),
    FormField("destination.role_arn", "Role ARN", "Assumed on top of the keys.",
          placeholder="arn:aws:iam::123456789012:role/forwarder"),
    FormField("destination.external_id", "External ID", "If the role asks for one."),
    FormField("event.source", "Source", "The source of each event.", required=True),
    FormField("event.detail_type", "Detail type", "The detail-type of each event.", required=True),
)  # fmt: skip
ALLOY_FIELDS = (
    FormField("source.version", "API version", "As in the path; empty for none.", placeholder="2024-03"),
    FormField("source.workflows", "Workflows", "One ID a line; for one user alone, add user= and the user's ID.",
          "lines", placeholder="64f1a2c9e1\n64f1a2c9e1 user=u-42"),
    FormField("source.discover", "Also every workflow of every user", input_type="checkbox"),
)  # fmt: skip
FIELDS = AWS_FIELDS + ALLOY_FIELDS


@dataclass(frozen=True, slots=True)
class SettingsChanges:
    """The changes of a form: settings by name, new secrets, and the names of secrets to remove."""

    values: Mapping[str, Value] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    removed: Sequence[str] = ()

    @property
    def changed(self) -> list[str]:
        """Return the names of all changed settings and secrets, for the log."""
        return [*self.values, *self.secrets, *self.removed]


def format_value(settings: Settings, name: str) -> str:
    """Return a setting as the text of its input."""
    section, _, key = name.partition(".")
    value = getattr(getattr(settings, section), key)
    match value:
        case bool():
            return "on" if value else ""
        case tuple():
            return "\n".join(_format_feed(feed) for feed in value)
        case _:
            return str(value)


def parse_changes(config_source: ConfigSource, settings: Settings, given: Mapping[str, str]) -> SettingsChanges:
    """Return the fields of a form that differ from the settings, its new secrets, and the secrets to remove.

    Settings that the environment overrides are ignored. An empty secret changes nothing.
    """
    values = {
        each.name: _parse_value(each, text)
        for each in FIELDS
        if not overriding_variable(config_source, each.name)
        and (text := _normalize_lines(given.get(each.name, ""))) != _normalize_lines(format_value(settings, each.name))
    }
    secrets = {name: text for name in NAMES if (text := pasted.trim(given.get(name, "")))}
    removed = tuple(name for name in NAMES if given.get(f"remove {name}") and name not in secrets)
    return SettingsChanges(values, secrets, removed)


def save_changes(config_source: ConfigSource, given: SettingsChanges, now: datetime) -> dict[str, str]:
    """Save the changes, and return no errors. If any is invalid, write nothing, and return the errors by input.

    Errors that belong to no input are under "".

    Raise SettingsError or VaultError if a file cannot be read or written, or is not valid.
    """
    local = load_local(config_source)
    faults = _validate_secrets(Vault.open(config_source, local), given) | _validate_values(config_source, given)
    if faults:
        return faults
    if given.values:
        set_values(config_source, given.values)
    with atomicfile.locked(config_source.path(local.vault.file).resolve().parent):
        vault = Vault.open(config_source, local)
        for name, value in given.secrets.items():
            vault.set(name, value, now)
        for name in given.removed:
            vault.remove(name)
    return {}


def candidate_settings(config_source: ConfigSource, given: SettingsChanges) -> Settings:
    """Return the settings of the file with these changes. Raise SettingsError, with its faults, if they are invalid."""
    table = read_table(config_source.file)
    for name, value in given.values.items():
        section, _, key = name.partition(".")
        table.setdefault(section, {})[key] = value
    return validate_table(config_source, table)


def _validate_values(config_source: ConfigSource, given: SettingsChanges) -> dict[str, str]:
    try:
        candidate_settings(config_source, given)
    except SettingsError as error:
        if not error.faults:
            raise
        return field_errors(error)
    return {}


def field_errors(error: SettingsError) -> dict[str, str]:
    """Return a message for each input with a fault. Faults of settings that are not on the page are under ""."""
    known = {each.name for each in FIELDS}
    faults = {
        name: capitalize_first(message.removeprefix(name).lstrip(": "))
        for name, message in error.faults.items()
        if name in known
    }
    if others := [message for name, message in error.faults.items() if name not in known]:
        faults[""] = capitalize_first("; ".join(others))
    return faults


def _validate_secrets(vault: Vault, given: SettingsChanges) -> dict[str, str]:
    faults = {}
    for name, value in given.secrets.items():
        try:
            validate_secret(name, value)
            reject_own_token(name, value, vault.digests())
        except VaultError as error:
            faults[name] = capitalize_first(error.message.removeprefix(name).strip())
    set_names = {name for name in NAMES if vault.set_at(name) is not None}
    set_names = (set_names | set(given.secrets)) - set(given.removed)
    if set_names & {AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN}:
        for name in (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY):
            if name not in set_names:
                faults.setdefault(name, "Is missing: an AWS key has both parts, or none of them is stored")
    return faults


def _parse_value(each: FormField, text: str) -> Value:
    match each.input_type:
        case "checkbox":
            return bool(text)
        case "lines":
            return [_parse_workflow(line) for line in text.splitlines()]
        case "text":
            return text


def _normalize_lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _parse_workflow(line: str) -> str | dict[str, str]:
    workflow_id, is_of_user, user_id = line.rpartition(USER_SEPARATOR)
    return {"id": workflow_id.strip(), "user_id": user_id.strip()} if is_of_user else line


def _format_feed(feed: Feed) -> str:
    return feed.workflow_id if feed.user_id is None else f"{feed.workflow_id}{USER_SEPARATOR}{feed.user_id}"
