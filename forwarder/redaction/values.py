"""The values of secret names in texts: where a value starts and ends in each syntax, and which values are harmless."""

import re
from typing import NamedTuple

REDACTED = "[redacted]"

MAX_DECIDING_CHARACTERS = 1024
"""The length of the start of a value that is checked for a secret. The limit avoids quadratic time."""

_OPENER = re.compile(
    r"[^\S\r\n]{0,8}+(?:\r?\n\s{0,16}+(?=[\"'\[{]))?+"
    r"(?:(?:ConvertTo-SecureString|Some|(?:new )?\w{0,20}(?:Secret|Secure|String|Str|Password)\w{0,12}(?=\()"
    r"|string\(\d{1,6}\)|s:\d{1,6}:|\[\](?:string|byte|any|interface ?\{\})\{)[\s(]{0,4})?+"
    r"(?P<open>(?P<slashes>\\*+)[bruf]?(?P<quote>[\"'`])"
    r"|(?P<coded>(?:%(?:25)*5[Cc])*%(?:25)*2[27]|&quot;|&#3[49];|&apos;|\\+u0022)|(?P<nest>[\[{]))?"
)
_CALL = re.compile(r"\((?:[^()\"'\r\n]|\"[^\"\r\n]{0,1024}\"|'[^'\r\n]{0,1024}'){1,64}+\)?")
_BOUNDARY = re.compile(r"(?<!\\)(?P<slashes>\\*+)(?P<quote>[\"'`])|[\[\]{}]")
_CLOSING = {quote: re.compile(rf"(?<!\\)(?P<slashes>\\*+){quote}") for quote in "\"'`"}
_SLASHES = re.compile(r"\\*")
_SCHEME = re.compile(
    r"(?i)(?:bearer|basic|token|digest|apikey|api-key|negotiate|sswsl?|ssws|geniekey|hawk|mac|aws4-hmac-sha256|key)\s{1,8}"
)
_BARE = re.compile(r"(?:[^&\s\"'<>;\\]|\\(?![rnt\"'u\\]))++")
_BARE_IN_PROSE = re.compile(r"(?:[^\s\"'<>;,&\\]|,(?!\s)|\\(?![rnt\"'u\\]))++")
_LINE = re.compile(r"(?:[^\r\n\\\"']|\\(?![rn\"'])|(?<=\w)'(?=\w))++")
_CODED = re.compile(r"(?:(?!%(?:25)*(?:26|3[bB]|2[027C]|7[dD]))[^\s&\"'<>;])++")
_SETTING = re.compile(r"[^;\r\n\"'&<>\\]++")
_NUMBER = re.compile(r"-?\d[\d.eE+-]*+$")
_HARMLESS = re.compile(
    r"(?i)(?:null|none|nil|true|false|undefined|nan|empty|unset|missing|required|optional|\*{2,}|x{3,}|<[\w -]{0,40}>?"
    r"|\[redacted\]?|\$\{[^}]{0,80}\}?|\{\{[^}]{0,80}|\[object|\[?hidden\]?|\[?filtered\]?|\(none\)|string|str|yes|no|on"
    r"|off|await|new)[,.)}\]:;]*+$"
)
_MESSAGE = re.compile(
    r"(?i)(?:must|is|should|required|missing|invalid|expired|not|unexpected|cannot|can't|has|was|were|are|too|please|"
    r"does|doesn't|did|could|needs?|contains?|failed|unable|unknown|unauthori[sz]ed|wrong|incorrect|malformed|minimum|"
    r"maximum|length|enter|provide|revoked|field|value|passwords?|token|cookies?) \S"
    # A passphrase may begin with these words, so a word that says something about the field has to follow.
    r"|(?:the|this|may|your|a|an|at|no|only) (?:\S{1,40} ){0,12}"
    r"(?:must|is|isn't|are|was|were|has|have|had|should|cannot|can't|can|could|not|does|doesn't|didn't|did|be|been|"
    r"required|requires?|missing|invalid|expired|unexpected|unknown|incorrect|wrong|malformed|failed|found|provided|"
    r"given|set|match|matches|supplied|sent|least|most|characters?|length|empty|allowed|permitted|revoked|rejected|"
    r"denied|entered|supported|needed|needs?|contains?|access|permissions?|longer|shorter|valid)\b"
)
SECRET_LOOKING = re.compile(r"(?=.{6})(?=[^\s]*[\d@!#$%^&*+=~/])\S++|\S{24,}+")
_CODE = re.compile(r"(?:await |new )?(?:(?:[A-Za-z_]\w{0,40}\.){1,4}\w{1,40}[(\[]|[A-Za-z_]\w{0,40}\(\))")
"""A call or a subscript in program code: `config.get(`, `os.environ[`, `getToken()`."""

_BLOCK = re.compile(r"[>|][-+]?\d?[ \t]*\r?\n(?P<indent>[ \t]+)[^\r\n]*(?:\r?\n(?P=indent)[^\r\n]*)*+")
"""A YAML block scalar with all its lines."""

_PASSWORDS = ("password", "passwd", "passphrase", "pwd", "secret")

PIN_DIGITS = 4
"""The digits of the shortest PIN."""

_POSITION = re.compile(r"\d{1,7}(?::\d{1,7})?\W{0,3}$")
_PATH = re.compile(r"(?:/[\w.@-]{1,64}){2,32}")
_SIGNATURE = re.compile(r"\(\w{0,40}:? ?\w{0,40}\) ?(?:=>|:)")
_PLURAL = re.compile(r"(?i)tokens[\W_\d]*$|^pass$")


class Span(NamedTuple):
    """A value in a text: its start, its end and its replacement."""

    start: int
    end: int
    replacement: str = REDACTED


class SecretName(NamedTuple):
    """A secret name in a text: the name, its start, and the characters that close it, such as a quote."""

    text: str
    start: int
    closing: str

    @property
    def is_quoted(self) -> bool:
        return '"' in self.closing or "'" in self.closing


def is_message(value: str) -> bool:
    """Return whether a value is a validation message about its field, such as "must be a string"."""
    return len(value) < MAX_DECIDING_CHARACTERS and _MESSAGE.match(value) is not None


def is_harmless(value: str) -> bool:
    """Return whether a value is no secret: a literal, a placeholder, or the mark of an earlier redaction."""
    return not value or (len(value) < MAX_DECIDING_CHARACTERS and _HARMLESS.match(value) is not None)


def may_be_count(name: str, number: str) -> bool:
    """Return whether a number under this name is a count, as in `tokens: 512` and `pass: 12`. A PIN is longer."""
    return _PLURAL.search(name) is not None and (name.lower() != "pass" or len(number) < PIN_DIGITS)


def value_after(text: str, separator: re.Match[str], name: SecretName) -> Span | None:
    """Return the span of the secret value after a separator, or None if the value is harmless or missing."""
    opener = _OPENER.match(text, separator.end())
    if opener is None:
        return None
    if opener["nest"]:
        return _nested(text, opener.start("nest"), name)
    start = opener.end()
    if (call := _CALL.match(text, start)) and ('"' in call[0] or "'" in call[0]):
        return Span(start, call.end())
    if opener["quote"]:
        end = _closing_quote(text, start, opener["slashes"], opener["quote"])
    elif opener["coded"]:
        end = text.find(opener["coded"], start)
        end = len(text) if end < 0 else end
    elif separator[0] == ":" and (block := _BLOCK.match(text, start)):
        return Span(start, block.end())
    else:
        return _bare(text, separator, start, name)
    value = text[start : min(end, start + MAX_DECIDING_CHARACTERS)]
    return None if is_harmless(value) or is_message(value) else Span(start, end)


def _nested(text: str, start: int, name: SecretName) -> Span | None:
    if text.startswith(REDACTED[:-1], start):
        return None
    found = _SLASHES.match(name.closing)
    end = _end_of_nested(text, start, found[0] if found else "")
    mark = name.closing.strip() if name.is_quoted else ""
    inner = text[start + 1 : min(end - 1, start + MAX_DECIDING_CHARACTERS)]
    if not inner or is_message(inner.strip("\"' ")):
        return None
    return Span(start, end, f"{mark}{REDACTED}{mark}")


def _closing_quote(text: str, start: int, slashes: str, quote: str) -> int:
    for boundary in _CLOSING[quote].finditer(text, start):
        if len(boundary["slashes"]) <= len(slashes):
            return boundary.start()
    return len(text)


def _end_of_nested(text: str, start: int, slashes: str) -> int:
    """Return the end of a list or object whose quotes are escaped by `slashes`, or the end of the text."""
    depth = 0
    open_quote = ""
    for boundary in _BOUNDARY.finditer(text, start):
        if boundary["quote"]:
            if len(boundary["slashes"]) <= len(slashes) and open_quote in ("", boundary["quote"]):
                open_quote = "" if open_quote else boundary["quote"]
        elif not open_quote:
            depth += 1 if boundary[0] in "[{" else -1
            if depth <= 0:
                return boundary.end()
    return len(text)


def _bare(text: str, separator: re.Match[str], start: int, name: SecretName) -> Span | None:
    """Return the span of a secret value without quotes, or None.

    The value ends with the line (in a header), at a semicolon (in a list of settings), at `&` (in a query) or at white
    space.
    """
    pattern, start = _pattern_of_bare(text, separator[0], start, name)
    decided = pattern.match(text, start, start + MAX_DECIDING_CHARACTERS)
    if decided is None:
        return None
    value = decided[0]
    number = _NUMBER.match(value.split(",")[0])
    is_count = number is not None and may_be_count(name.text, number[0])
    if is_harmless(value) or is_message(value) or is_count or _SIGNATURE.match(value) or _CODE.match(value):
        return None
    if pattern is _BARE_IN_PROSE and not _is_secret_in_prose(text, separator, name, value):
        return None
    found = pattern.match(text, start)
    if found is None:
        return None
    is_json = name.is_quoted and separator[0] == ":" and _NUMBER.match(value.rstrip(",}]")) is not None
    if not is_json:
        return Span(start, found.end())
    return Span(start, start + len(found[0].rstrip(",}]")), f'"{REDACTED}"')


def _pattern_of_bare(text: str, mark: str, start: int, name: SecretName) -> tuple[re.Pattern[str], int]:
    if mark.startswith("%"):
        return _CODED, start
    before = _line_before(text, name.start)
    is_line = not before.strip(" \t>\"'-*<+")
    if mark == ":" and (is_line or name.text.lower().endswith("cookie")):
        return _LINE, start
    ahead = text[start : start + 256].split("\n", maxsplit=1)[0].split('"', maxsplit=1)[0]
    is_list = before.rstrip().endswith(";") or ";" in ahead
    if mark == "=" and is_list and "cookie" not in name.text.lower():
        return _SETTING, start
    scheme = _SCHEME.match(text, start)
    return (_BARE if mark == "=" else _BARE_IN_PROSE), (scheme.end() if scheme else start)


def _is_secret_in_prose(text: str, separator: re.Match[str], name: SecretName, value: str) -> bool:
    """Return whether the value after a name in a sentence is a secret, as in `apiKey: x` and `token:abc123`.

    Otherwise it is an ordinary word, a path, or a position in a file.
    """
    if separator[0] != ":" or name.is_quoted:
        return True
    if _PATH.fullmatch(value.rstrip(".,;:)")):
        return False
    after = text[separator.end() : separator.end() + 1]
    before = _line_before(text, name.start)
    if not after.isspace():
        is_part = before.endswith((":", "/"))
        is_word = SECRET_LOOKING.fullmatch(value) is None and not name.text.lower().endswith(_PASSWORDS)
        return not (is_part or is_word or _POSITION.match(value))
    in_prose = len(before) > 1 and before[-1] == " " and before[-2].isalpha()
    return not in_prose or SECRET_LOOKING.fullmatch(value.rstrip(".,)}]:")) is not None


def _line_before(text: str, at: int) -> str:
    """Return the text between the start of the line and a position, at most 64 characters.

    If the line starts further away, the result has an "x" in front, so that it never looks like the whole line.
    """
    start = max(0, at - 64)
    before = text[start:at]
    cut = max(before.rfind("\n") + 1, before.rfind("\\n") + 2 if "\\n" in before else 0)
    return before[cut:] if cut or not start else f"x{before}"
