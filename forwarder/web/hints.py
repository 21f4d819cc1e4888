"""The hints of errors as the page shows them: links to its own fields in place of commands of the terminal."""

import re

from markupsafe import Markup, escape

from forwarder.vault import NAMES
from forwarder.web.formatting import capitalize_first
from forwarder.web.settings_form import ALLOY_SECRETS, AWS_SECRETS, FIELDS

_LABELS = {each.name: each.label for each in (*AWS_SECRETS, *ALLOY_SECRETS, *FIELDS)}

_ENGLISH_WORDS = frozenset({"source", "version"})
"""Names of settings that are usually plain words in a hint. Only their dotted names are linked."""

_FIELD_NAMES = {
    name: each.name
    for each in FIELDS
    for name in (each.name, each.name.partition(".")[2])
    if name not in _ENGLISH_WORDS
}
"""The name of a field's input, by the dotted and by the short name of its setting."""

_LINKS = (
    ("check", "Check connection", "/settings#check"),
    ("enable", "the switch", "/settings#switching"),
    ("keys remove", "its box to remove it", "/settings"),
    ("keys set", "the settings", "/settings"),
    ("dead-letters", "the dead letters", "/events?state=dead"),
)
"""Commands, by how they begin, with the text and the target of the link that does the same on the page."""

COMMAND_LINE = "the command line of the forwarder"
"""The replacement of a command for which the page has no equal."""

_COMMAND = re.compile(r"`(?:forwarder (?P<command>[^`]+)|(?P<secret>%s))`" % "|".join(NAMES))  # noqa: UP031  # braces of a pattern
_SETTING = re.compile(r"(?<![\w.\]-])(?:\[\w+\] )?(%s)(?![\w.-]*\w)" % "|".join(map(re.escape, _FIELD_NAMES)))  # noqa: UP031  # as above
_TOKEN = re.compile(rf"{_COMMAND.pattern}|{_SETTING.pattern}|`(?P<code>[^`]*)`")


def page_hint(hint: str) -> Markup:
    """Return a hint as HTML. Commands and names of settings are links, and other `text in backticks` is code."""
    prefix = ""
    if whole := _COMMAND.fullmatch(hint):
        prefix = "enter it in " if (whole["command"] or "").startswith("keys set ") else "use "
    html, end = Markup(""), 0
    for match in _TOKEN.finditer(text := capitalize_first(f"{prefix}{hint}")):
        html += escape(text[end : match.start()]) + _replacement(match)
        end = match.end()
    return html + escape(text[end:])


def _replacement(match: re.Match[str]) -> Markup:
    if command := match["command"]:
        return _command_link(command)
    if secret := match["secret"]:
        return _field_link(secret)
    if (code := match["code"]) is not None:
        return Markup("<code>{}</code>").format(code)
    return _field_link(_FIELD_NAMES[match[3]])


def _command_link(command: str) -> Markup:
    subcommand, _, name = command.rpartition(" ")
    if subcommand == "keys set" and name in _LABELS:
        return _field_link(name)
    for start, text, target in _LINKS:
        if command == start or command.startswith(f"{start} "):
            return _link(text, target)
    return escape(COMMAND_LINE)


def _field_link(name: str) -> Markup:
    return _link(f"“{_LABELS[name]}”", f"/settings#{name}")


def _link(text: str, target: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(target, text)
