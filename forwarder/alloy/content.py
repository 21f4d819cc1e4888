"""The kind of content of a response, which a message may name without showing any of the body."""

from forwarder.untrusted_json import is_json

UTF_8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OTHER_ENCODINGS = {
    b"\xff\xfe\x00\x00": "UTF-32 text",
    b"\x00\x00\xfe\xff": "UTF-32 text",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"{\x00": "UTF-16 text",
    b"\x00{": "UTF-16 text",
    b"[\x00": "UTF-16 text",
    b"\x00[": "UTF-16 text",
    b"\x00\x00\x00{": "UTF-32 text",
}

SIGNATURES = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a ZIP archive",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "Zstandard data",
    b")]}'": "JSON behind a guard against scripts",
    b"for(;;);": "JSON behind a guard against scripts",
    b"while(1);": "JSON behind a guard against scripts",
    b"data:": "an event stream",
    b"event:": "an event stream",
}

HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<meta", b"<title", b"<center", b"<h1")

MAX_SNIFFED_BYTES = 1024


def describe_content(body: bytes, content_type: str) -> str:
    """Return the kind of a body, by its first bytes, with an article: "an HTML page", "UTF-16 text", "JSON"."""
    if not body:
        return "an empty body"
    for start, name in (OTHER_ENCODINGS | SIGNATURES).items():
        if body.startswith(start):
            return name
    text = body[:MAX_SNIFFED_BYTES].removeprefix(UTF_8_BYTE_ORDER_MARK).lstrip().lower()
    if not text:
        return "a blank body"
    if text.startswith(b"<"):
        after_comment = text.partition(b"-->")[2].lstrip() if text.startswith(b"<!--") else text
        is_html = after_comment.startswith(HTML_STARTS) or "html" in content_type.lower()
        return "an HTML page" if is_html else "an XML document"
    if text[:1] in b'{["':
        return "JSON"
    return "binary data" if b"\0" in text or not _is_text(text) else "plain text"


def is_json_document(body: bytes) -> bool:
    """Return whether a body is a JSON object or list. A proxy or a web server rarely sends one."""
    return body.lstrip()[:1] in (b"{", b"[") and is_json(body)


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start > len(text) - 4 and error.start > 0
    return True
