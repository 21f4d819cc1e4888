"""The replacement of long lists of numbers before decoding.

A Buffer or a typed array as JSON takes a few bytes for each number on the wire, and many times that in memory. It does
not fit into an event. A text with the length replaces it, in time proportional to the body.
"""

import re

MIN_BODY_BYTES = 1 << 20
"""The least size of a body in which lists are replaced."""

MIN_NUMBERS = 1000

_NUMBER = rb"-?\d[\d.eE+-]*+"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_LIST = rb"\[\s*+" + _NUMBER + rb"(?:\s*+,\s*+" + _NUMBER + rb"){%d,}+\s*+\]" % (MIN_NUMBERS - 1)
# JSON.stringify(new Uint8Array(…)) is an object whose names are the positions.
_PAIR = rb'"\d{1,10}+"\s*+:\s*+' + _NUMBER
_OBJECT = rb"\{\s*+" + _PAIR + rb"(?:\s*+,\s*+" + _PAIR + rb"){%d,}+\s*+\}" % (MIN_NUMBERS - 1)
# Strings come first, so that text is never taken for a list.
_TOKEN = re.compile(rb"(?P<numbers>" + _LIST + rb"|" + _OBJECT + rb")|" + _STRING, re.DOTALL)


def shorten_number_lists(body: bytes) -> bytes:
    """Return the body with every list of at least MIN_NUMBERS numbers replaced by a text such as "[4096 numbers]".

    Return the same object if nothing is replaced.
    """
    if len(body) < MIN_BODY_BYTES:
        return body
    pieces: list[bytes | memoryview] = []
    position = 0
    view = memoryview(body)
    for token in _TOKEN.finditer(body):
        if token.lastgroup is None:
            continue
        start, end = token.span()
        count = body.count(b",", start, end) + 1
        pieces += view[position:start], b'"[%d numbers]"' % count
        position = end
    if not position:
        return body
    pieces.append(view[position:])
    return b"".join(pieces)
