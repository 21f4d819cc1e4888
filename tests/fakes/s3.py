"""A server of S3 that stores objects and verifies their SHA-256, with the faults of the real one."""

from __future__ import annotations

import hashlib
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final, Self
from urllib.parse import unquote, urlsplit

STATUSES: Final = {
    "AccessDenied": 403,
    "NoSuchBucket": 404,
    "KMS.DisabledException": 400,
    "AuthorizationHeaderMalformed": 400,
    "PermanentRedirect": 301,
    "RequestTimeTooSkewed": 403,
    "SlowDown": 503,
    "InternalError": 500,
}

Response = tuple[int, bytes, dict[str, str]]

RESET, LOST_RESPONSE, SLOW, HTML = "reset", "lost response", "slow", "html"
SLOW_SECONDS: Final = 5.0


class FakeS3:
    """A server of any bucket. `objects` has the bodies by bucket and key, `puts` the requests.

    `faults` has an error code, or one of the other faults, for each of the next requests. `on_stored` is called after
    an object is stored and before the response.
    """

    def __init__(self, on_stored: Callable[[], None] = lambda: None) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.puts: list[tuple[str, str]] = []
        self.faults: deque[str] = deque()
        self.always = ""
        self.on_stored = on_stored
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self) -> str:
        return self.faults.popleft() if self.faults else self.always

    def respond(self, fault: str, bucket: str, key: str, body: bytes, checksum: str) -> Response | None:
        """Return the status, the body and the headers of the response, or None to close the connection."""
        if fault == RESET:
            return None
        if fault == HTML:
            return 200, b"<html>a portal</html>", {}
        if fault in STATUSES:
            return STATUSES[fault], f"<Error><Code>{fault}</Code><Message>refused</Message></Error>".encode(), {}
        if hashlib.sha256(body).digest() != b64decode(checksum):
            return 400, b"<Error><Code>BadDigest</Code></Error>", {}
        self.objects[bucket, key] = body
        self.on_stored()
        return None if fault == LOST_RESPONSE else (200, b"", {"ETag": '"e"'})

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bucket, key = unquote(urlsplit(self.path).path)[1:].split("/", 1)
                fake.puts.append((bucket, key))
                fault = fake.next_fault()
                if fault == SLOW:
                    time.sleep(SLOW_SECONDS)
                response = fake.respond(fault, bucket, key, body, self.headers["x-amz-checksum-sha256"])
                if response is None:
                    self.close_connection = True
                else:
                    self.reply(*response)

            def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
