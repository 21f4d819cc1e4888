"""The redaction of values in XML, multipart fields, lists of names and values, command lines and sentences."""

import re

from forwarder.redaction.sensitive_names import IsSecret
from forwarder.redaction.values import REDACTED, SECRET_LOOKING, is_harmless, is_message

_ELEMENT = re.compile(
    r"(?i)(?:<|&lt;|%(?:25)?3C|\\u003c)(?:[\w-]{1,32}+(?::|%3A))?+(?P<name>[\w.-]{1,64}+)(?:\s[^<>&%]{0,256}+)?+"
    r"(?:>|&gt;|%(?:25)?3E|\\u003e)(?:\s{0,64}+<!\[CDATA\[)?+"
    r"(?P<value>[^<>&%\\]{1,8192}+(?:%(?!(?:25)?3C)[^<>&%\\]{0,64}+){0,16}+)"
)
_TITLED = re.compile(
    r"(?i)\b(?:name|key|header|field|id)[\"'\\]{0,8}+\s?(?:=>?|:)\s?[\"'\\]{1,8}+"
    r"(?P<name>[\w .\[\]-]{1,64}+)(?:\\{0,4}+[\"']){1,4}+"
    r"(?:(?:;[^\r\n\\]{0,128}+)?+(?:(?:\r\n|\n|\\+r\\+n|\\+n)(?:Content-[^\r\n\\]{0,128}+)?+){2,4}+"
    r"|[,\s]{0,16}+[\"'\\]{0,8}+(?:value|val)[\"'\\]{0,8}+\s?(?:=>?|:)\s?[\"'\\]{1,8}+|\s{0,4}+>)"
    r"(?P<value>[^\r\n\\\"'<>]{1,8192}+)"
)
_SERIALIZED = re.compile(
    r"s:\d{1,4}:\\{0,4}+\"(?P<name>[\w .-]{1,64}+)\\{0,4}+\";s:\d{1,6}:\\{0,4}+\"(?P<value>[^\"\\]{1,8192}+)"
)
"""A name and its value in the output of PHP's serialize()."""

_FLAG = re.compile(
    r"(?<![\w-])--?(?P<name>[A-Za-z][\w.-]{1,63}+)[\"']?+,?+\s{1,4}+(?P<quote>[\"']?+)(?P<value>(?!-)[^\s\"']{1,1024}+)"
)
_WORDS_AFTER_A_FLAG = frozenset(["is", "was", "must", "and", "or", "flag", "option"])
_PROSE = re.compile(
    r"(?i)\b(?P<name>pass(?:word|phrase|code|wd)|pwd|secret|token"
    r"|(?:api|access|secret|private|license|webhook)[ -_]?(?:key|secret)"
    r"|key|pin|otp|signature|credentials?|passwort|contraseña|senha)"
    r"(?P<verb>\s{1,4}+(?:is|was|are|used|provided|given|supplied|sent|equals|to be|to|of|for \S{1,40}(?: is)?|value)?"
    r"\s{0,4}+[=:]?\s{0,4}+|\s?\()(?P<quote>\\*+[\"'`]?+)(?P<value>[^\s\"'`<>\\]{4,1024}+)"
)
_QUOTED = re.compile(
    r"(?i)(?P<start>\bpass(?:word|phrase|code|wd)\s{1,4}+(?:(?:is|was|of)\s{1,4}+)?\\*+(?P<quote>[\"'`]))"
    r"(?P<value>[^\"'`\r\n\\]{3,256}+)(?=\\*(?P=quote))"
)
"""A quoted password in a sentence. It may contain spaces."""

_NOT_PROSE = re.compile(
    r"(?i)\w{0,40}\(|/|https?:|\d+([.,]\d+)*[a-z%]{0,3}$|\d{4}-\d\d-\d\d|[\w.+-]{1,64}@[\w-]{1,64}\.\w{1,16}$"
)


def without_elements(text: str, is_secret: IsSecret) -> str:
    """Redact the content of each XML element whose name is secret."""

    def replaced(found: re.Match[str]) -> str:
        value = found["value"].strip()
        if not is_secret(found["name"]) or is_harmless(value) or is_message(value):
            return found[0]
        return found[0][: found.start("value") - found.start()] + REDACTED

    return _ELEMENT.sub(replaced, text)


def without_titled(text: str, is_secret: IsSecret) -> str:
    """Redact the value of each pair of fields `name` and `value` whose name is secret, and of multipart fields.

    Examples are `{"name": "Authorization", "value": "…"}` and PHP's serialized arrays.
    """

    def replaced(found: re.Match[str]) -> str:
        if not is_secret(found["name"]) or is_harmless(found["value"].strip()):
            return found[0]
        return found[0][: found.start("value") - found.start()] + REDACTED

    text = _TITLED.sub(replaced, text)
    return _SERIALIZED.sub(replaced, text) if ";s:" in text else text


def without_flags(text: str, is_secret: IsSecret) -> str:
    """Redact the value after a command-line flag whose name is secret."""

    def replaced(found: re.Match[str]) -> str:
        if not is_secret(found["name"]) or is_harmless(found["value"]) or found["value"] in _WORDS_AFTER_A_FLAG:
            return found[0]
        return found[0][: found.start("value") - found.start()] + REDACTED

    return _FLAG.sub(replaced, text)


def without_prose(text: str, is_secret: IsSecret) -> str:
    """Redact a value that follows a secret name in a sentence, as in "the password is …", unless it is a plain word."""

    def replaced(found: re.Match[str]) -> str:
        value = found["value"].rstrip(".,;:)]}!?")
        if _is_word(found, value) or not is_secret("api key" if found["name"].lower() == "key" else found["name"]):
            return found[0]
        start = found.start("value") - found.start()
        return found[0][:start] + REDACTED + found[0][start + len(value) :]

    def quoted(found: re.Match[str]) -> str:
        value = found["value"]
        return found[0] if is_harmless(value) or is_message(f"{value} x") else f"{found['start']}{REDACTED}"

    return _PROSE.sub(replaced, _QUOTED.sub(quoted, text))


def _is_word(found: re.Match[str], value: str) -> bool:
    if found["quote"] and found["name"].lower().startswith("pass") and found["verb"].isspace():
        return is_harmless(value) or is_message(f"{value} x")
    is_path = found["name"].lower() == "key" and any(mark in value for mark in "/._#")
    return (
        is_path
        or "=" in value
        or found["verb"].strip() in ("=", ":")  # a pair
        or value.startswith(REDACTED[:-1])
        or SECRET_LOOKING.fullmatch(value) is None
        or _NOT_PROSE.match(value) is not None
    )
