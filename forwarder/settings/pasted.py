"""The treatment of pasted values: white space around a value is removed, and any other wrapping is described.

No function here returns any part of a value: a secret may have been pasted into the wrong place.
"""

import re
from typing import Any

INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\u00ad\u200e\u200f"
"""Characters without width, which web pages, chats and Windows put around a copied text."""

_QUOTES = {
    '"': '"', "'": "'", "`": "`", "\u201c": "\u201d\u201c", "\u201d": "\u201d", "\u201e": "\u201c\u201d",
    "\u2018": "\u2019\u2018", "\u2019": "\u2019", "\u201a": "\u2018\u2019", "\u00ab": "\u00bb", "\u00bb": "\u00ab",
}  # fmt: skip
"""The closing quotation marks of each opening one, straight and typographic."""

_DOUBLE = '"`\u201c\u201d\u201e\u00ab\u00bb'
"""Quotation marks that are not apostrophes. A single one at an end of a text is a mistake."""

_ASSIGNMENT = re.compile(
    r"(?:export|set|setx|declare\s+-x)\s+\w+\s*[=\s]|\$env:\w+\s*=|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\s*[=:]"
    r"|(?i:aws_[a-z_]+|aws-[a-z-]+|api[_-]?key|x-api-key|alloy[_-]api[_-]key|authorization)\s*[=:]"
    r"|(?i:key|secret|token|region|event_bus|base_url|version|workflows?|id)\s*=(?![=\s]*$)",
    re.ASCII,
)
_VARIABLE = re.compile(
    r"\$[A-Za-z_]\w*|\$\{[^{}]*\}|\$\([^()]*\)|\$?\{\{.*\}\}|%\{?[A-Za-z_]\w*[%}]|#\{[^{}]*\}#?|\(\([^()]*\)\)"
    r"|@{1,2}[A-Za-z_]\w*@{1,2}|__[A-Z][A-Z0-9_]*__|!(?:Ref|Sub|GetAtt|vault|env|reference)\b.*|(?:var|local|module)\.\w[\w.]*",
    re.ASCII | re.DOTALL,
)
"""Variables and template expressions of shells, Compose, Kubernetes, Terraform, Ansible, CloudFormation and CI."""

_MISSING = re.compile(r"null|NULL|\(null\)|None|undefined|<?nil>?|NaN|%!\w?\(.*\)|\[object \w+\]")
"""Texts that jq, the AWS CLI, JavaScript, Go and Python print in place of a value that is missing."""

_COMMENT = re.compile(r"\s#(?:\s|$)")
"""A comment that Docker's `--env-file` and systemd's `EnvironmentFile` leave in the value."""

_PLACEHOLDER = re.compile(
    r"<[^<>]{3,}>|\[[^\[\]]*\]|(?:x{4,}|\*{4,}|\.{3,}|\u2022{3,}|\u2026)|[a-z0-9_-]*\u2026|"
    r"your[ _-].*|(?:insert|enter|paste)[ _-]your.*|(?:change|replace)[ _-]?me|placeholder|.*[a-z][_-]here",
    re.IGNORECASE,
)


_FORMS = (
    (_ASSIGNMENT.match, "is a name with its value: leave the name out"),
    (_COMMENT.search, "has a comment after it: leave it out"),
    (_MISSING.fullmatch, "is the word that programs print for a missing value: write the value itself"),
    (_VARIABLE.fullmatch, "is the name of a variable or a template, which is not replaced here: write its value"),
    (_PLACEHOLDER.fullmatch, "is a placeholder: write the value itself"),
)
"""The first pattern that matches describes the text."""


def trim(text: str) -> str:
    """Return the text without white space and invisible characters at its ends."""
    before = None
    while before != text:
        before, text = text, text.strip().strip(INVISIBLE)
    return text


def trim_all(value: Any) -> Any:
    """Return a copy of a tree with every text trimmed. Keys of objects are not changed."""
    match value:
        case str():
            return trim(value)
        case list() | tuple():
            return [trim_all(item) for item in value]
        case dict():
            return {key: trim_all(item) for key, item in value.items()}
        case _:
            return value


def describe_wrapping(text: str) -> str:
    """Return the end of a sentence about the wrapping of a text, such as "is in quotation marks: leave them out".

    Return an empty text if the text is not wrapped.
    """
    if text[:1] in _QUOTES and len(text) > 1 and text[-1] in _QUOTES[text[0]]:
        return "is in quotation marks: leave them out"
    if any(text.count(mark) == 1 and mark in text[:1] + text[-1:] for mark in _DOUBLE):
        return "has a quotation mark at one end: leave it out"
    return next((words for matches, words in _FORMS if matches(text)), "")
