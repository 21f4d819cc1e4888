"""The server: bound before anything is forwarded, so that an address that cannot be had is told at the start."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from forwarder.errors import SettingsError
from forwarder.settings.checks import host_and_port
from forwarder.settings.fields import WebSettings
from forwarder.vault import WEB_TOKEN
from forwarder.web import doors, hook, letters, login, pages, settings_page, status_page, trials
from forwarder.web.allowance import Allowance
from forwarder.web.board import BOARD, Board
from forwarder.web.desk import DESK, Desk
from forwarder.web.guard import DIGESTS, LARGEST_BODY, MIDDLEWARES, SESSIONS, add_headers
from forwarder.web.names import NAMES, Names, bracketed
from forwarder.web.pages import PAGES, Pages
from forwarder.web.sessions import Sessions
from forwarder.web.signature import Signatures
from forwarder.web.tokens import Digests

log = structlog.get_logger("web")

GRACE = 1.0
"""Seconds that answers under way may take when the server ends; streams end as the daemon begins to drain."""

ROUTES = (
    *(*status_page.ROUTES, *letters.ROUTES, *settings_page.ROUTES, *trials.ROUTES),
    *(*login.ROUTES, *pages.ROUTES, *doors.ROUTES, *hook.ROUTES),
)


@dataclass(slots=True)
class Served:
    """The addresses that were bound, empty where none was asked for."""

    page: str = ""
    doors: str = ""


@asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[Served]:
    """Serve what the settings ask for, until the end of the block. Raises SettingsError."""
    settings, served = desk.settings().web, Served()
    async with AsyncExitStack() as stack:
        if settings.listen:
            bound = stack.enter_context(_bound("listen", settings.listen))
            tls = _tls(desk, settings)
            names = Names.of(settings, bound.getsockname()[1])
            app = page_app(desk, names)
            await stack.enter_async_context(_running(app, bound, tls))
            has_token = app[DIGESTS].get(WEB_TOKEN) is not None
            mend = {} if has_token else {"mend": "`forwarder web token` makes the token that lets in"}
            served.page = names.first
            log.info("page", address=settings.public_url or served.page, **mend)
        if settings.health_listen:
            bound = stack.enter_context(_bound("health_listen", settings.health_listen))
            await stack.enter_async_context(_running(doors_app(desk), bound, None))
            served.doors = f"http://{bracketed(bound.getsockname()[0])}:{bound.getsockname()[1]}"
            log.info("health doors", address=served.doors)
        yield served


def page_app(desk: Desk, names: Names) -> web.Application:
    """All of it. Raises SettingsError."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=LARGEST_BODY)
    app[DESK] = desk
    app[NAMES] = names
    app[PAGES] = Pages()
    app[BOARD] = Board(desk, app[PAGES])
    app[SESSIONS] = Sessions(desk.clock)
    app[DIGESTS] = Digests(desk.place, desk.settings())
    app[login.LOGINS] = Allowance(desk.clock, burst=login.BURST, every=login.EVERY)
    app[hook.HOOK_CALLS] = Allowance(desk.clock, burst=hook.BURST, every=hook.EVERY)
    if public_key := desk.settings().web.alloy_public_key:
        app[hook.SIGNATURES] = Signatures.of(desk.place, public_key)
    app.on_response_prepare.append(add_headers)
    app.add_routes(ROUTES)
    return app


def doors_app(desk: Desk) -> web.Application:
    """The health doors alone: they tell nothing that has to be kept from a network."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app[DESK] = desk
    app.on_response_prepare.append(add_headers)
    app.add_routes(doors.ROUTES)
    return app


@asynccontextmanager
async def _running(app: web.Application, bound: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        await web.SockSite(runner, bound, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


def _bound(key: str, listen: str) -> socket.socket:
    host, port = host_and_port(listen)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"web.{key} {listen} cannot be had: {error.strerror or error}",
            hint=f"end what listens there, or set another {key} in [web]; an empty one serves nothing",
        ) from None


def _tls(desk: Desk, settings: WebSettings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    cert, key = desk.place.path(settings.tls_cert), desk.place.path(settings.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password="")  # a sealed key fails, where it would ask on a terminal
    except OSError as error:  # which ssl.SSLError is, too
        raise SettingsError(
            f"web.tls_cert {cert} and web.tls_key {key} cannot be used: {error.strerror or type(error).__name__}",
            hint="they are PEM files of a certificate and of the key to it, without a password",
        ) from None
    return context
