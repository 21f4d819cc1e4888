"""The responses of Amazon SQS in the JSON protocol that the SDK speaks: messages of a queue, and errors."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final, Self

CONTENT_TYPE: Final = "application/x-amz-json-1.0"

ERRORS: Final = {
    "QueueDoesNotExist": (400, "com.amazonaws.sqs#QueueDoesNotExist"),
    "AccessDeniedException": (403, "com.amazonaws.sqs#AccessDeniedException"),
    "InternalFailure": (500, "InternalFailure"),
    "ThrottlingException": (400, "com.amazonaws.sqs#ThrottlingException"),
}


class FakeSqs:
    """A server of one queue. An operation that `refusals` names is answered with that error.

    `bodies` are the messages, `deleted` the receipt handles that were deleted, `operations` the requests.
    """

    def __init__(self, *bodies: str, **refusals: str) -> None:
        self.bodies = list(bodies)
        self.refusals = refusals
        self.deleted: list[str] = []
        self.operations: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.queue_url = f"{self.url}/123456789012/failures-canary"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(self, operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.operations.append(operation)
        if code := self.refusals.get(operation):
            status, name = ERRORS[code]
            return status, {"__type": name, "message": "refused by the test"}
        match operation:
            case "GetQueueUrl":
                return 200, {"QueueUrl": self.queue_url}
            case "ReceiveMessage":
                found = [
                    {"MessageId": str(number), "ReceiptHandle": f"handle-{number}", "Body": body}
                    for number, body in enumerate(self.bodies)
                    if f"handle-{number}" not in self.deleted
                ]
                return 200, {"Messages": found[: request["MaxNumberOfMessages"]]}
            case _:
                self.deleted.append(request["ReceiptHandle"])
                return 200, {}

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, document = fake.respond(self.headers["X-Amz-Target"].partition(".")[2], request)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
