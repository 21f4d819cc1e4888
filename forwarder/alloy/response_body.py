"""The body of a response, decompressed within limits.

httpx is not enough for two reasons. It decompresses a chunk completely before it returns it, so that a few kilobytes
can fill the memory before a limit is checked. It also accepts a compressed stream that was cut.

Servers and proxies declare codings that they do not apply, and apply codings that they do not declare, so the first
bytes of the body decide.
"""

import codecs
import zlib

from forwarder.alloy.decode import digest_of, has_several_records
from forwarder.errors import PageTooLarge, PageUnreadable, SourceUnavailable

GZIP, DEFLATE, RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

GZIP_START = b"\x1f\x8b"

PLAIN_STARTS = b'{["< \t\r\n\xef\xfe\xff'
"""First bytes of JSON, of HTML and of byte-order marks. No supported compression starts with them."""

COMPRESSIONS = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "br": "Brotli",
    "zstd": "Zstandard",
    "compress": "LZW",
    "x-compress": "LZW",
    "dcb": "Brotli",
    "dcz": "Zstandard",
    "bzip2": "bzip2",
    "x-bzip2": "bzip2",
    "xz": "xz",
    "lzma": "LZMA",
}
"""The codings that compress, by their names in Content-Encoding. Others, such as a charset, change no byte."""

MAX_CODINGS = 3

MAX_MEMBERS = 10_000
"""The number of members of one gzip body. Each takes time, even if it is empty."""

MAX_COMPRESSION_OVERHEAD_BYTES = 64 * 1024
"""The bytes by which a compressed body may exceed the limit of the decompressed body."""


class BoundedBody:
    """A response's body, added in raw chunks. `add` and `finish` raise SourceError if it is too large or broken."""

    def __init__(self, limit: int, encoding: str) -> None:
        names = [name.split(";")[0].strip(" \t\"'").lower() for name in encoding.split(",")]
        codings = [COMPRESSIONS[name] for name in names if name in COMPRESSIONS]
        if len(codings) > MAX_CODINGS:
            raise PageUnreadable(f"the logs API applied more than {MAX_CODINGS} compressions to its response")
        self._limit = limit
        self._raw_bytes = 0
        self._body = bytearray()
        self._decompressors = [Decompressor(coding, limit) for coding in reversed(codings or ["none"])]

    def add(self, chunk: bytes) -> None:
        self._raw_bytes += len(chunk)
        if self._raw_bytes > self._limit + self._limit // 64 + MAX_COMPRESSION_OVERHEAD_BYTES:
            raise self._too_large()
        self._add(chunk, self._decompressors)

    def finish(self) -> bytes:
        """Return the decompressed body without its byte-order mark."""
        for number, decompressor in enumerate(self._decompressors, 1):
            self._add(decompressor.finish(), self._decompressors[number:])
        return bytes(self._body).removeprefix(codecs.BOM_UTF8)

    def _add(self, chunk: bytes, decompressors: list["Decompressor"]) -> None:
        for decompressor in decompressors:
            if not chunk:
                return
            chunk = decompressor.add(chunk)
        self._body += chunk[: self._limit + 1 - len(self._body)]
        if len(self._body) > self._limit or any(decompressor.exceeds_limit for decompressor in decompressors):
            raise self._too_large()

    def _too_large(self) -> PageTooLarge:
        return PageTooLarge(
            f"a response of the logs API is larger than {self._limit} bytes",
            digest=digest_of(self._body),
            has_several_records=has_several_records(self._body),
        )


class Decompressor:
    """A decompressor of one coding. It returns a body that does not have this coding unchanged.

    A gzip body is decompressed, whatever coding is declared.
    """

    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding
        self._limit = limit
        self._start = b""
        self._is_decided = self._is_compressed = self._is_ended = False
        self._inflater = zlib.decompressobj(GZIP)
        self._members = 0
        self._decompressed_bytes = 0

    @property
    def exceeds_limit(self) -> bool:
        return self._decompressed_bytes > self._limit

    def add(self, data: bytes) -> bytes:
        if not self._is_decided:
            data = self._start + data
            if len(data) < len(GZIP_START):
                self._start = data
                return b""
            self._start = b""
            self._decide(data)
        return self._decompress(data) if self._is_compressed else data

    def finish(self) -> bytes:
        """Return the bytes not returned yet. Raise SourceUnavailable if the compressed stream was cut."""
        is_cut = self._is_compressed and not self._is_ended and not self._inflater.eof
        if is_cut or (not self._is_decided and self._start == GZIP_START[:1]):
            raise SourceUnavailable("the logs API broke off its response")
        return b"" if self._is_decided else self._start

    def _decide(self, data: bytes) -> None:
        self._is_decided = True
        if data.startswith(GZIP_START):
            self._is_compressed = True
        elif self._coding == "deflate" and not looks_like_json(data):
            self._is_compressed = True
            self._inflater = zlib.decompressobj(DEFLATE if has_zlib_header(data) else RAW_DEFLATE)
        elif self._coding == "gzip" and data[0] not in PLAIN_STARTS:
            raise SourceUnavailable("the logs API responded with broken gzip")
        elif self._coding not in {"none", "gzip", "deflate"} and data[0] not in PLAIN_STARTS:
            raise PageUnreadable(f"the logs API used a compression that was not requested ({self._coding})")

    def _decompress(self, data: bytes) -> bytes:
        """Return the decompressed data, of every member of gzip (RFC 1952, 2.2). Stop after the limit.

        Bytes after the last member, such as padding, are ignored. Raise SourceUnavailable if the data is broken.
        """
        decompressed = bytearray()
        while data and not self._is_ended and not self.exceeds_limit:
            if self._inflater.eof:
                data = self._next_member(data)
                continue
            try:
                output = self._inflater.decompress(data, self._limit + 1 - self._decompressed_bytes)
            except zlib.error:
                raise SourceUnavailable(f"the logs API responded with broken {self._format_name}") from None
            self._decompressed_bytes += len(output)
            decompressed += output
            data = self._inflater.unused_data
        return bytes(decompressed)

    def _next_member(self, data: bytes) -> bytes:
        data = (self._start + data).lstrip(b"\0")
        self._start = b""
        if data == GZIP_START[:1]:
            self._start = data
            return b""
        if not data:
            return b""
        self._members += 1
        if self._coding == "deflate" or not data.startswith(GZIP_START) or self._members >= MAX_MEMBERS:
            self._is_ended = True
            return b""
        self._inflater = zlib.decompressobj(GZIP)
        return data

    @property
    def _format_name(self) -> str:
        return "deflate" if self._coding == "deflate" else "gzip"


def has_zlib_header(data: bytes) -> bool:
    """Return whether data starts with a zlib header (RFC 1950). Servers send raw deflate under the same name."""
    return data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0


def looks_like_json(data: bytes) -> bool:
    """Return whether the first two bytes of data are JSON. Raw deflate may also start with a brace."""
    return data[:1] in b'{["' and (data[1:2] in b'"{[ \t\r\n]}' or data[1:2].isalnum()) and data[1] < 0x80  # noqa: PLR2004  # ASCII
