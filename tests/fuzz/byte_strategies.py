"""The strategies for bytes from outside: any bytes, and damaged valid bytes, which reach much more code."""

from __future__ import annotations

from hypothesis import strategies as st

SPLICES = st.binary(max_size=4) | st.sampled_from(
    [
        *(
            b'"',
            b"'",
            b"\\",
            b"[",
            b"]",
            b"{",
            b"}",
            b",",
            b":",
            b"=",
            b"#",
            b"\n",
            b"\r",
            b"\0",
            b"\xff",
            b"\xed\xa0\x80",
        ),
        *(
            b"-",
            b"0",
            b"9" * 30,
            b"1e999",
            b"null",
            b"true",
            b"nan",
            b"\\ud800",
            b"\\u0000",
            b"[" * 2000,
            b'{"a":' * 2000,
        ),
    ]
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes, max_edits: int = 4) -> bytes:
    """Change, remove, insert or move a few bytes."""
    content = valid
    for _ in range(draw(st.integers(1, max_edits))):
        at = draw(st.integers(0, len(content)))
        lost = draw(st.sampled_from([0, 0, 1, 1, 4, 40, 10_000]))
        moved = content[at : at + lost] if draw(st.booleans()) else b""
        content = content[:at] + draw(SPLICES) + content[at + lost :] + moved
    return content


def hostile(*valid: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=400) | st.one_of([damaged(each) for each in valid])
