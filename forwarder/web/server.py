"""The server: bound before anything is forwarded, so that an address that cannot be had is told at the start."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import structlog
from aiohttp import web

from forwarder.errors import SettingsError
from forwarder.settings.checks import host_and_port
from forwarder.settings.fields import WebSettings
from forwarder.vault import WEB_TOKEN
from forwarder.web import doors, hook, letters, login, pages, settings_page, status_page, trials
from forwarder.web.allowance import Allowance
from forwarder.web.board import BOARD, Board
from forwarder.web.client_address import parse_address
from forwarder.web.connection import Timeouts
from forwarder.web.connection_limit import HEALTH_SHARE, PAGE_SHARE, Listener
from forwarder.web.desk import DESK, Desk
from forwarder.web.guard import (
    DIGESTS,
    LARGEST_BODY,
    MIDDLEWARES,
    MIDDLEWARES_OF_DOORS,
    SESSIONS,
    sign_response,
)
from forwarder.web.names import NAMES, Names, bracketed, reachable
from forwarder.web.pages import PAGES, Pages
from forwarder.web.renewal import Renewed, tls_context
from forwarder.web.request_errors import PROBLEMS, RequestProblems
from forwarder.web.sessions import Sessions
from forwarder.web.signature import Signatures
from forwarder.web.tokens import Digests

log = structlog.get_logger("web")

GRACE = 1.0
"""Seconds that answers under way may take when the server ends; streams end as the daemon begins to drain."""

DEFAULT_TIMEOUTS = Timeouts()

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
async def serving(desk: Desk, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> AsyncIterator[Served]:
    """Serve what the settings ask for, until the end of the block. Raises SettingsError."""
    settings, served = desk.settings().web, Served()
    async with AsyncExitStack() as stack:
        if settings.listen:
            bound = stack.enter_context(_bound("listen", settings.listen))
            tls = _tls(desk, settings)
            names = Names.of(settings, bound.getsockname()[1])
            app = page_app(desk, names)
            await stack.enter_async_context(_running(app, bound, tls, PAGE_SHARE, timeouts))
            for renewed in (tls, app.get(hook.SIGNATURES)):
                if renewed is not None:
                    await stack.enter_async_context(_beside(renewed.follow(desk.clock, desk.metrics)))
            has_token = app[DIGESTS].get(WEB_TOKEN) is not None
            mend = {} if has_token else {"mend": "`forwarder web token` makes the token that lets in"}
            served.page = names.first
            log.info("page", address=settings.public_url or served.page, **mend)
        if settings.health_listen:
            bound = stack.enter_context(_bound("health_listen", settings.health_listen))
            await stack.enter_async_context(_running(doors_app(desk), bound, None, HEALTH_SHARE, timeouts))
            host = reachable(host_and_port(settings.health_listen)[0])
            served.doors = f"http://{bracketed(host)}:{bound.getsockname()[1]}"
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
    app[PROBLEMS] = RequestProblems("listen", desk.clock, desk.metrics)
    app[login.LOGINS] = Allowance(desk.clock, burst=login.BURST, every=login.EVERY)
    app[hook.HOOK_CALLS] = Allowance(desk.clock, burst=hook.BURST, every=hook.EVERY)
    app[status_page.STREAMS] = status_page.Streams()
    if public_key := desk.settings().web.alloy_public_key:
        app[hook.SIGNATURES] = _public_key(desk, public_key)
    app.on_response_prepare.append(sign_response)
    app.add_routes(ROUTES)
    return app


def doors_app(desk: Desk) -> web.Application:
    """The health doors alone: they tell nothing that has to be kept from a network."""
    app = web.Application(middlewares=MIDDLEWARES_OF_DOORS, client_max_size=LARGEST_BODY)
    app[DESK] = desk
    app[PROBLEMS] = RequestProblems("health_listen", desk.clock, desk.metrics)
    app.on_response_prepare.append(sign_response)
    app.add_routes(doors.ROUTES)
    return app


@asynccontextmanager
async def _running(
    app: web.Application,
    bound: socket.socket,
    tls: Renewed[ssl.SSLContext] | None,
    share: float,
    timeouts: Timeouts,
) -> AsyncIterator[None]:
    """Serve an app. Connections are accepted by a loop of ours, for aiohttp's has no limit."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        if runner.server is None:
            raise RuntimeError("a runner that is set up has a server")
        listener = Listener(bound, runner.server, lambda: tls.current if tls else None, share, timeouts, app[PROBLEMS])
        async with _beside(listener.run()):
            yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a task that ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _bound(key: str, listen: str) -> socket.socket:
    """Bind an address. `[::]` takes IPv4 connections too, where the machine can do that."""
    host, port = host_and_port(listen)
    address = parse_address(host)  # one that is written as `::ffff:127.0.0.1` is an IPv4 address
    try:
        if not isinstance(address, IPv6Address):
            return socket.create_server((str(address or host), port))
        dual = address.is_unspecified and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=dual)
    except OSError as error:
        raise SettingsError(
            f"web.{key} {listen} cannot be had: {error.strerror or error}",
            hint=f"end what listens there, or set another {key} in [web]; an empty one serves nothing",
        ) from None


def _tls(desk: Desk, settings: WebSettings) -> Renewed[ssl.SSLContext] | None:
    """Raises SettingsError."""
    if not settings.tls_cert:
        return None
    cert, key = desk.place.path(settings.tls_cert), desk.place.path(settings.tls_key)
    return Renewed("web.tls_cert, web.tls_key", (cert, key), lambda: tls_context(cert, key))


def _public_key(desk: Desk, file: str) -> Renewed[Signatures]:
    """Raises SettingsError."""
    return Renewed("web.alloy_public_key", (desk.place.path(file),), lambda: Signatures.of(desk.place, file))
