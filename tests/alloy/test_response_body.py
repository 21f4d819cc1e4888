"""The body of a response is decompressed within bounds."""

import contextlib
import gzip

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forwarder.alloy.response_body import BoundedBody
from forwarder.errors import PageTooLarge, PageUnreadable, SourceUnavailable
from tests.factories import examples
from tests.fakes.actions import pieces
from tests.fakes.alloy import MIB, gzip_bomb


@given(st.binary(max_size=5000), st.integers(1, 700), st.sampled_from(["", "identity", "gzip", "x-gzip", " GZIP "]))
@examples(150)
def test_chunks_of_any_size_are_joined(content: bytes, size: int, encoding: str) -> None:
    assume(not content.startswith((b"\x1f", b"\xef\xbb\xbf")))  # gzip, and a byte-order mark
    packed = gzip.compress(content) if "gzip" in encoding.lower() else content
    body = BoundedBody(5000, encoding)
    for chunk in pieces(packed, size):
        body.add(chunk)
    assert body.finish() == content


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_one_byte_over_the_limit_is_too_large(encoding: str) -> None:
    for size in (1024, 1025):
        content = bytes(size)
        body = BoundedBody(1024, encoding)
        packed = gzip.compress(content) if encoding else content
        if size == 1024:
            body.add(packed)
            assert body.finish() == content
        else:
            with pytest.raises(PageTooLarge) as raised:
                body.add(packed)
            assert raised.value.digest


def test_gzip_bomb_takes_bounded_memory() -> None:
    body = BoundedBody(1 * MIB, "gzip")
    for chunk in pieces(gzip_bomb(16 * MIB).body[:2048], 1024)[:-1]:
        with contextlib.suppress(PageTooLarge):
            body.add(chunk)
    with pytest.raises(PageTooLarge):
        body.add(gzip_bomb(16 * MIB).body[1024:2048])
    assert len(body._body) <= 1 * MIB + 1  # noqa: SLF001  # the buffered size is under test


@given(st.integers(0, 200))
@examples(60)
def test_cut_gzip_stream_is_an_error(at: int) -> None:
    packed = gzip.compress(b'{"data": [' + b"x" * 300 + b"]}")
    body = BoundedBody(10_000, "gzip")
    body.add(packed[: max(1, min(at, len(packed) - 1))])
    with pytest.raises(SourceUnavailable):
        body.finish()


@pytest.mark.parametrize("content", [b"not gzip at all", b"\x1f\x8b\x08" + b"\xff" * 50])
def test_invalid_gzip_is_an_error(content: bytes) -> None:
    body = BoundedBody(10_000, "gzip")
    with pytest.raises(SourceUnavailable):
        body.add(content)


@pytest.mark.parametrize("encoding", ["br", "zstd", "BR", "compress", "gzip, br", "x-bzip2"])
def test_body_in_another_compression_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(PageUnreadable, match=r"\((Brotli|Zstandard|LZW|bzip2)\)"):
        BoundedBody(1000, encoding).add(b"\x8b\x02\x80 nothing that starts like JSON")
