"""The headers of every response, and the error response that holds nothing else.

The headers restrict what a browser may do with a page, and name no version. `Connection` and the middlewares both add
them.
"""

from http import HTTPStatus

from aiohttp import web

HEADERS = {
    "Server": "forwarder",
    # No script or style but from files of ours: markup that got in by mistake could not run any.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    # Not `no-referrer`: with that, browsers send the origin of a form as `null`.
    "Referrer-Policy": "same-origin",
}
"""Headers that a handler may set to another value."""


def error_response(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response whose text is the phrase of the status, with these headers and the common ones."""
    response = web.Response(text=f"{HTTPStatus(status).phrase.lower()}\n", status=status, headers=headers)
    add_headers(response)
    return response


def add_headers(response: web.StreamResponse) -> None:
    """Add the headers that every response has."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    for name, value in DEFAULT_HEADERS.items():
        response.headers.setdefault(name, value)
