"""The stored form of payloads: each event detail is one compressed row.

A row starts with the entry's own number, so that a damaged key cannot give an entry the payload of another. Each detail
is compressed with a preset dictionary. A detail takes about as much space as in a page that is compressed as a whole,
but can be read, replaced and deleted without other details.
"""

import zlib
from collections.abc import Collection, Sequence
from sqlite3 import Connection

import msgspec

NUMBER_BYTES = 8
"""The length of the entry's number before the compressed detail."""

DICTIONARY = (
    b'"authorization":"[redacted]","cookie":"[redacted]","x-forwarded-for":"[redacted]","user-agent":"Mozilla/5.0"'
    b'"headers":{"host":"https://","content-type":"application/json"},"params":{"query":{"method":"POST","url":"https://'
    b'"customer":{"name":"","firstName":"","lastName":"","email":"@","phone":"","address":{"street":"","city":"","zip":""'
    b'"lineItems":[{"sku":"","title":"","quantity":1,"price":"","currency":"USD","total":""},"created_at":"","updated_at"'
    b'"description":"","type":"","number":"","value":"","key":"","items":[{"count":0},"url":"","true,"false,"null,'
    b"Error: connect ECONNREFUSED 127.0.0.1:443 timeout of 30000ms exceeded socket hang up read ECONNRESET ETIMEDOUT"
    b"TypeError: Cannot read properties of undefined (reading '\\n    at process.processTicksAndRejections "
    b"(node:internal/process/task_queues:95:5)\\n    at async /app/node_modules/axios/lib/core/settle.js:19:12)"
    b'"error":{"message":"Request failed with status code 400: 401 403 404 422 429 500 502 503","name":"AxiosError",'
    b'"stack":"AxiosError: Request failed with status code ","code":"ERR_BAD_REQUEST","blockId":"'
    b'{"message":"the execution failed without an error message (status failed)"},"results":[]'
    b'"data":[[{"json":{"body":{"id":"0"}}]],"id":"","data":[],"startedAt":"2026-","stoppedAt":"2026-'
    b'},{"blockId":"","startedAt":"2026-01-01T00:00:00.000Z","stoppedAt":"2026-01-01T00:00:00.000Z","data":[[{"json":{'
    b'"error":{"message":"","name":"Error","stack":"Error: ","code":"","blockId":""},"results":[{"blockId":"'
    b'"trimmed":{"shed":[],"originalBytes":0},"forwarder":{"version":"0.2.0","observedAt":"2026-01-01T00:00:00.000Z"}}'
    b'{"version":"1","executionId":"","workflowId":"","userId":"","status":"failed","startedAt":"2026-01-01T00:00:00.000Z",'
    b'"stoppedAt":"2026-01-01T00:00:00.000Z","durationMs":0,"error":{"message":"'
)
"""Texts that most event details contain, the most frequent last. The stored rows depend on every byte of it: a change
needs a new format of the ledger (https://docs.python.org/3/library/zlib.html#zlib.compressobj, `zdict`).
"""


def compress(detail: bytes) -> bytes:
    """Return the compressed detail. The work is done outside of the ledger's thread, which only adds the number."""
    compressor = zlib.compressobj(level=1, zdict=DICTIONARY)
    return compressor.compress(detail) + compressor.flush()


def decompress(entry: int, body: bytes | None) -> bytes | None:
    """Return the detail of an entry, or None if the row is missing, damaged or another entry's."""
    if not isinstance(body, bytes) or body[:NUMBER_BYTES] != _number(entry):
        return None
    decompressor = zlib.decompressobj(zdict=DICTIONARY)
    try:
        detail = decompressor.decompress(memoryview(body)[NUMBER_BYTES:])
    except zlib.error:
        return None
    return detail if decompressor.eof else None


def insert(db: Connection, first: int, compressed: Sequence[bytes]) -> None:
    """Insert the payloads of entries with consecutive numbers."""
    db.executemany(
        "INSERT INTO payloads VALUES (?, ?)",
        [(entry, _number(entry) + body) for entry, body in enumerate(compressed, first)],
    )


def body_of(db: Connection, entry: int) -> bytes | None:
    """Return the stored bytes of an entry, its number and the compressed detail, or None if there is no row."""
    # CAST: a damaged row may hold a value of another type.
    row = db.execute("SELECT CAST(body AS BLOB) FROM payloads WHERE entry = ?", (entry,)).fetchone()
    return None if row is None else row[0]


def details_of(db: Connection, entries: Collection[int]) -> dict[int, bytes]:
    """Return the details that can be read, by entry."""
    rows = db.execute(
        "SELECT entry, CAST(body AS BLOB) FROM payloads WHERE entry IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(entries)).decode(),),
    )
    found = ((entry, decompress(entry, body)) for entry, body in rows)
    return {entry: detail for entry, detail in found if detail is not None}


def number_in(body: bytes | None) -> int | None:
    """Return the entry number at the start of a row, or None if the row is too short."""
    return int.from_bytes(body[:NUMBER_BYTES], signed=True) if body and len(body) > NUMBER_BYTES else None


def delete(db: Connection, entries: Collection[int]) -> None:
    """Delete the payloads of entries."""
    db.executemany("DELETE FROM payloads WHERE entry = ?", [(entry,) for entry in entries])


def _number(entry: int) -> bytes:
    return entry.to_bytes(NUMBER_BYTES, signed=True)
