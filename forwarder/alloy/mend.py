"""Making JSON decodable that is right in form and wrong in its parts.

JavaScript writes what other readers refuse: half a surrogate pair, numbers beyond any float, nesting without end.
Such a part is replaced, so that it does not hide the execution it stands in. What is not JSON at all stays so.
"""

import re

MAX_DEPTH = 200
"""Levels kept. EventBridge takes 1,000, and a decoder or a walk of ours must never come near its own limit."""

TOO_DEEP = '"[nested too deep]"'
MAX_NUMBER_CHARACTERS = 300

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
# Possessive, and to the end where it is not closed: a string of many megabytes is one step without a way back.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|(?P<open>[\[{])|(?P<close>[\]}])|(?P<number>-?\d[\d.eE+-]*+)', re.DOTALL)


def mend(body: bytes) -> bytes:
    text = body.decode("utf-8", "replace")
    text = _ESCAPE.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)
    return _prune(text).encode()


def _prune(text: str) -> str:
    """Replace what lies deeper than MAX_DEPTH, and quote numbers that no reader holds."""
    kept: list[str] = []
    depth = done = 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(text[done : token.start()])
        elif token["close"]:
            if depth == MAX_DEPTH + 1:
                kept.append(TOO_DEEP)
                done = token.end()
            depth -= 1
        elif (number := token["number"]) and depth <= MAX_DEPTH and not _is_held(number):
            kept += text[done : token.start()], f'"{number}"'
            done = token.end()
    kept.append(text[done:])
    return "".join(kept)


def _is_held(number: str) -> bool:
    if len(number) > MAX_NUMBER_CHARACTERS:
        return False
    try:
        return abs(float(number)) != float("inf")
    except ValueError:  # no number at all: the decoder says so better
        return True
