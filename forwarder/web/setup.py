"""The one-time link of a first start. It creates the admin token, and opens the first session.

A GET shows a button and consumes nothing, because previews and virus scanners open links. The POST of the button
consumes the link. Only a digest of it is kept, in memory.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable

from aiohttp import web

from forwarder.errors import VaultError
from forwarder.log import audit
from forwarder.model import State
from forwarder.rate_limit import KeyedRateLimiter
from forwarder.vault import WEB_TOKEN
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.hosts import ALLOWED_HOSTS
from forwarder.web.login import reject_while_limited, start_session
from forwarder.web.middleware import TOKEN_DIGESTS
from forwarder.web.rendering import RENDERER, SESSION, render_page
from forwarder.web.tokens import TOKEN_BYTES, TokenDigests, digest_of, issue_first_token

MAX_LINK_AGE_SECONDS = 600.0

ShowLink = Callable[[str], None]
"""A function that shows the link to the person who started the forwarder, and to nobody else."""

HEADERS = {"Referrer-Policy": "strict-origin"}
"""The address of these pages is a secret until it is used: no request names it."""


class SetupLink:
    """A link that is valid for ten minutes, once, while settings are missing and no admin token exists."""

    def __init__(self, context: WebContext, digests: TokenDigests) -> None:
        self._context = context
        self._digests = digests
        self._digest: str | None = None
        self._expires_at = 0.0
        self.use = asyncio.Lock()

    def issue(self, page: str) -> str | None:
        """Return a link to this page, or None if this is no first start."""
        if not self._is_first_start():
            return None
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._digest = digest_of(token)
        self._expires_at = self._context.clock.monotonic() + MAX_LINK_AGE_SECONDS
        return f"{page}/setup/{token}"

    def is_valid(self, token: str) -> bool:
        if self._context.clock.monotonic() >= self._expires_at or not self._is_first_start():
            self.revoke()
        return self._digest is not None and hmac.compare_digest(self._digest, digest_of(token))

    def revoke(self) -> None:
        self._digest = None

    def _is_first_start(self) -> bool:
        return self._context.state_of("source") is State.UNCONFIGURED and self._digests.get(WEB_TOKEN) is None


SETUP_LINK = web.AppKey("setup_link", SetupLink)

SETUP_LIMITER = web.AppKey("setup_limiter", KeyedRateLimiter)


async def show_button(request: web.Request) -> web.Response:
    if not _is_valid(request):
        return _invalid_page(request)
    return _page(request, "confirm")


async def create_admin_token(request: web.Request) -> web.Response:
    """Consume the link. A failure to store the token consumes nothing."""
    context, link = request.app[CONTEXT], request.app[SETUP_LINK]
    async with link.use:
        if not _is_valid(request):
            return _invalid_page(request)
        try:
            token = await asyncio.to_thread(
                issue_first_token, context.config_source, context.settings(), WEB_TOKEN, context.clock.now()
            )
        except VaultError as error:
            raise web.HTTPConflict(reason=str(error)) from None
        link.revoke()
    if token is None:  # `forwarder web create-token` was faster
        return _invalid_page(request)
    response = web.Response(content_type="text/html", headers=HEADERS)
    request[SESSION] = start_session(request, response, digest_of(token))
    response.text = request.app[RENDERER].render_for(request, "setup.html", step="created", token=token)
    audit().info(
        "admin token created", session=request[SESSION].name, caller=request.app[ALLOWED_HOSTS].caller(request)
    )
    return response


def _is_valid(request: web.Request) -> bool:
    """Return whether the link is valid, and count the attempt if not. Raise HTTPTooManyRequests after too many."""
    client, limiter = request.app[ALLOWED_HOSTS].client(request), request.app[SETUP_LIMITER]
    reject_while_limited(limiter, client)
    if request.app[SETUP_LINK].is_valid(request.match_info["token"]):
        return True
    limiter.take(client.key)
    audit().warning("setup link rejected", caller=client.text)
    return False


def _invalid_page(request: web.Request) -> web.Response:
    has_token = request.app[TOKEN_DIGESTS].get(WEB_TOKEN) is not None
    return _page(request, "invalid", has_token=has_token, status=web.HTTPNotFound.status_code)


def _page(request: web.Request, step: str, *, status: int = 200, **values: object) -> web.Response:
    response = render_page(request, "setup.html", status=status, step=step, **values)
    response.headers.update(HEADERS)
    return response


ROUTES = [
    web.get("/setup/{token}", show_button, name="setup"),
    web.post("/setup/{token}", create_admin_token, name="setup"),
]
