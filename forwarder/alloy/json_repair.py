"""The repair of JSON that has the right structure and invalid parts.

JavaScript writes parts that other decoders refuse: half a surrogate pair, numbers beyond any float, endless nesting.
Python writes NaN and Infinity. Templates write undefined, control characters, Windows paths and a trailing comma. Such
a part is replaced, so that it does not hide the execution around it. Data that is not JSON at all is not repaired.
"""

import re

MAX_DEPTH = 200
"""The number of levels that are kept. EventBridge accepts 1,000. Python's recursion limit must not be reached."""

TOO_DEEP = '"[nested too deep]"'
MAX_NUMBER_CHARACTERS = 300

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
# Possessive, and up to the end if it is not closed: a string of many megabytes never causes backtracking.
_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+"?+)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<number>-?\d[\d.eE+-]*+)'
    r"|(?P<word>-?[A-Za-z]\w*+)|(?P<comma>,)(?=\s*+[\]}])",
    re.DOTALL,
)
_STRING_PART = re.compile(r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})|(?P<slash>\\)|(?P<control>[\x00-\x1f])")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?")

WORD_REPLACEMENTS = {
    "NaN": '"NaN"',
    "-NaN": '"NaN"',
    "nan": '"NaN"',
    "-nan": '"NaN"',
    "Infinity": '"Infinity"',
    "-Infinity": '"-Infinity"',
    "inf": '"Infinity"',
    "-inf": '"-Infinity"',
    "undefined": "null",
    "None": "null",
    "True": "true",
    "False": "false",
}
"""Values of JavaScript and Python that JSON does not have, and their replacements."""


def repair_json(body: bytes) -> bytes:
    """Return the body with every invalid part replaced."""
    text = body.decode("utf-8", "replace")
    text = _ESCAPE.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)
    return _prune(text).encode()


def _prune(text: str) -> str:
    """Replace values deeper than MAX_DEPTH and tokens that are not JSON, and quote numbers that no float can hold."""
    pieces: list[str] = []
    depth = position = 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
            if depth == MAX_DEPTH + 1:
                pieces.append(text[position : token.start()])
        elif token["close"]:
            if depth == MAX_DEPTH + 1:
                pieces.append(TOO_DEEP)
                position = token.end()
            depth -= 1
        elif depth <= MAX_DEPTH and (other := _replacement(token)) is not None:
            pieces += text[position : token.start()], other
            position = token.end()
    pieces.append(text[position:])
    return "".join(pieces)


def _replacement(token: re.Match[str]) -> str | None:
    """Return the replacement of a token that is not JSON, or None for a valid token."""
    match token.lastgroup:
        case "string":
            whole = token[0]
            fixed = _STRING_PART.sub(_escape, whole)
            return None if fixed == whole else fixed
        case "number":
            return None if _is_representable(token[0]) else f'"{token[0]}"'
        case "word":
            return WORD_REPLACEMENTS.get(token[0])
        case "comma":
            return ""
    return None


def _escape(match: re.Match[str]) -> str:
    if match["slash"]:
        return "\\\\"
    return f"\\u{ord(match['control']):04x}" if match["control"] else match[0]


def _is_representable(number: str) -> bool:
    if len(number) > MAX_NUMBER_CHARACTERS:
        return False
    try:
        is_finite = abs(float(number)) != float("inf")
    except ValueError:  # not a number, which the decoder reports better
        return True
    return is_finite and _JSON_NUMBER.fullmatch(number) is not None
