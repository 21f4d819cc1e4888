"""The body of an answer, unpacked within bounds.

httpx unpacks a chunk whole before it hands it on, so a few kilobytes could fill the memory before any limit is looked
at; and it takes a compressed stream that was cut for a short one.
"""

import zlib

from forwarder.alloy.dialect import digest_of
from forwarder.errors import PageTooLarge, PageUnreadable, SourceUnavailable

GZIP = 16 + zlib.MAX_WBITS


class BoundedBody:
    """Takes raw chunks. Raises SourceError where they are too much, or no gzip."""

    def __init__(self, limit: int, encoding: str) -> None:
        self._limit = limit
        self._body = bytearray()
        self._unpack = None
        self._is_packed = False
        match encoding.strip().lower():
            case "" | "identity":
                pass
            case "gzip" | "x-gzip":
                self._unpack = zlib.decompressobj(GZIP)
            case _:
                raise PageUnreadable("the logs API answered in a compression that was not asked for")

    def add(self, chunk: bytes) -> None:
        if self._unpack is not None:
            self._is_packed = self._is_packed or bool(chunk)
            try:
                chunk = self._unpack.decompress(chunk, self._limit + 1 - len(self._body))
            except zlib.error:
                raise SourceUnavailable("the logs API answered with broken gzip") from None
        self._body += chunk
        if len(self._body) > self._limit:
            raise PageTooLarge(
                f"an answer of the logs API is over {self._limit} bytes",
                digest=digest_of(self._body),
            )

    def whole(self) -> bytes:
        if self._unpack is not None and not self._unpack.eof and self._is_packed:
            raise SourceUnavailable("the logs API broke off its answer")
        return bytes(self._body)
