"""The web server. It binds its addresses before anything is forwarded, so that an address in use fails the start."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from forwarder.rate_limit import KeyedRateLimiter, RateLimiter
from forwarder.runtime import background_tasks
from forwarder.settings import ConfigSource, Settings
from forwarder.settings.local_sections import WebSettings
from forwarder.settings.validators.web import is_loopback_only, parse_host_and_port
from forwarder.vault import WEB_TOKEN
from forwarder.web import (
    checklist,
    connection_test,
    dead_letters,
    event,
    events,
    health_endpoints,
    login,
    rendering,
    settings_page,
    setup,
    status_page,
    webhook,
    workflow_list,
)
from forwarder.web.checklist import CHECK_RECORD, CheckRecord
from forwarder.web.connection import Timeouts
from forwarder.web.connection_limit import HEALTH_SHARE, WEB_UI_SHARE, Listener
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.file_reload import ReloadingValue, tls_context
from forwarder.web.hosts import ALLOWED_HOSTS, AllowedHosts, bracket
from forwarder.web.listen_address import bind, reachable_address
from forwarder.web.middleware import (
    HEALTH_MIDDLEWARES,
    MAX_BODY_BYTES,
    MIDDLEWARES,
    SESSIONS,
    TOKEN_DIGESTS,
    add_response_headers,
)
from forwarder.web.rendering import RENDERER, template_renderer
from forwarder.web.request_errors import PROBLEMS, RequestProblems
from forwarder.web.reruns import RERUNS, Reruns
from forwarder.web.session_file import session_file
from forwarder.web.sessions import Sessions
from forwarder.web.setup import SETUP_LIMITER, SETUP_LINK, SetupLink, ShowLink
from forwarder.web.status_cache import STATUS_CACHE, StatusCache
from forwarder.web.tokens import TokenDigests

log = structlog.get_logger("web")

SHUTDOWN_GRACE_SECONDS = 1.0
"""The time that open responses may take when the server stops. Streams end when the daemon begins to drain."""

DEFAULT_TIMEOUTS = Timeouts()

ROUTES = (
    *(*status_page.ROUTES, *events.ROUTES, *event.ROUTES, *dead_letters.ROUTES),
    *(*settings_page.ROUTES, *connection_test.ROUTES),
    *(*checklist.ROUTES, *workflow_list.ROUTES, *setup.ROUTES),
    *(*login.ROUTES, *rendering.ROUTES, *health_endpoints.ROUTES, *webhook.ROUTES),
)


@dataclass(slots=True)
class ServerAddresses:
    """The URLs that are served; empty if none is configured."""

    web_ui: str = ""
    health: str = ""


@asynccontextmanager
async def run_web_server(
    context: WebContext, timeouts: Timeouts = DEFAULT_TIMEOUTS, *, show_setup_link: ShowLink | None = None
) -> AsyncIterator[ServerAddresses]:
    """Serve the web UI and the health endpoints until the end of the block.

    Raise AddressUnavailable if an address cannot be bound now, and SettingsError for any other failure.

    `show_setup_link` receives the link of a first start, if there is one.
    """
    settings, addresses = context.settings().web, ServerAddresses()
    async with AsyncExitStack() as stack:
        if settings.listen:
            listener_socket = stack.enter_context(bind("listen", settings.listen))
            tls = _load_tls(context.config_source, settings)
            allowed_hosts = AllowedHosts.of(settings, listener_socket.getsockname()[1])
            app = create_web_app(context, allowed_hosts)
            stack.callback(app[SESSIONS].save)
            await stack.enter_async_context(_run_app(app, listener_socket, tls, WEB_UI_SHARE, timeouts))
            for reloading in (tls, app.get(webhook.SIGNATURE_VERIFIER)):
                if reloading is not None:
                    await stack.enter_async_context(
                        background_tasks(reloading.watch_files(context.clock, context.metrics))
                    )
            addresses.web_ui = allowed_hosts.local_url
            has_token = app[TOKEN_DIGESTS].get(WEB_TOKEN) is not None
            may_link = show_setup_link is not None and is_loopback_only(settings.listen)
            link = app[SETUP_LINK].issue(allowed_hosts.local_url) if may_link else None
            hint = {} if has_token or link else {"hint": "`forwarder web create-token` creates the admin token"}
            log.info("web UI listening", address=settings.public_url or addresses.web_ui, **hint)
            if show_setup_link is not None and link is not None:
                show_setup_link(link)
        if settings.health_listen:
            listener_socket = stack.enter_context(bind("health_listen", settings.health_listen))
            await stack.enter_async_context(
                _run_app(create_health_app(context), listener_socket, None, HEALTH_SHARE, timeouts)
            )
            host = reachable_address(parse_host_and_port(settings.health_listen)[0])
            addresses.health = f"http://{bracket(host)}:{listener_socket.getsockname()[1]}"
            log.info("health endpoints listening", address=addresses.health)
        yield addresses


def create_web_app(context: WebContext, allowed_hosts: AllowedHosts) -> web.Application:
    """Create the app of the web UI. Raise SettingsError if a file that it needs is invalid."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=MAX_BODY_BYTES)
    app[CONTEXT] = context
    app[ALLOWED_HOSTS] = allowed_hosts
    app[RENDERER] = template_renderer()
    app[STATUS_CACHE] = StatusCache(context, app[RENDERER])
    app[CHECK_RECORD] = CheckRecord()
    app[RERUNS] = Reruns()
    app[SESSIONS] = Sessions(context.clock, session_file(context.config_source, context.settings().vault))
    app[TOKEN_DIGESTS] = TokenDigests(context.config_source, context.settings())
    app[PROBLEMS] = RequestProblems("listen", context.clock, context.metrics)
    app[login.LOGIN_LIMITER] = KeyedRateLimiter(
        context.clock, interval_seconds=login.LOGIN_INTERVAL_SECONDS, burst=login.LOGIN_BURST
    )
    app[SETUP_LINK] = SetupLink(context, app[TOKEN_DIGESTS])
    app[SETUP_LIMITER] = KeyedRateLimiter(
        context.clock, interval_seconds=login.LOGIN_INTERVAL_SECONDS, burst=login.LOGIN_BURST
    )
    app[webhook.WEBHOOK_LIMITER] = RateLimiter(
        context.clock, interval_seconds=webhook.WEBHOOK_INTERVAL_SECONDS, burst=webhook.WEBHOOK_BURST
    )
    app[status_page.STREAMS] = status_page.Streams()
    if public_key := context.settings().web.alloy_public_key:
        app[webhook.SIGNATURE_VERIFIER] = _load_public_key(context.config_source, public_key)
    app.on_response_prepare.append(add_response_headers)
    app.add_routes(ROUTES)
    return app


def create_health_app(context: WebContext) -> web.Application:
    """Create the app of the health endpoints. It has no access control, because it serves nothing confidential."""
    app = web.Application(middlewares=HEALTH_MIDDLEWARES, client_max_size=MAX_BODY_BYTES)
    app[CONTEXT] = context
    app[PROBLEMS] = RequestProblems("health_listen", context.clock, context.metrics)
    app.on_response_prepare.append(add_response_headers)
    app.add_routes(health_endpoints.ROUTES)
    return app


@asynccontextmanager
async def _run_app(
    app: web.Application,
    listener_socket: socket.socket,
    tls: ReloadingValue[ssl.SSLContext] | None,
    share: float,
    timeouts: Timeouts,
) -> AsyncIterator[None]:
    """Serve an app during the block. `Listener` accepts the connections, because aiohttp has no limit for them."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_GRACE_SECONDS)
    await runner.setup()
    try:
        if runner.server is None:
            raise RuntimeError("a runner that is set up has a server")
        listener = Listener(
            listener_socket, runner.server, lambda: tls.current if tls else None, share, timeouts, app[PROBLEMS]
        )
        async with background_tasks(listener.run()):
            yield
    finally:
        await runner.cleanup()


def check_addresses(settings: WebSettings) -> None:
    """Raise AddressUnavailable or SettingsError if a start could not bind an address now."""
    for key, listen in (("listen", settings.listen), ("health_listen", settings.health_listen)):
        if listen:
            bind(key, listen).close()


def check_web_ui(config_source: ConfigSource, settings: Settings) -> str:
    """Return the address of the web UI as a message. Raise SettingsError if a file that it needs is invalid."""
    web_settings = settings.web
    if not web_settings.listen:
        return "none: web.listen is empty"
    _load_tls(config_source, web_settings)
    if web_settings.alloy_public_key:
        _load_public_key(config_source, web_settings.alloy_public_key)
    return web_settings.public_url or web_settings.listen


def _load_tls(config_source: ConfigSource, settings: WebSettings) -> ReloadingValue[ssl.SSLContext] | None:
    """Return the TLS context, or None without a certificate. Raise SettingsError if the certificate is invalid."""
    if not settings.tls_cert:
        return None
    cert, key = config_source.path(settings.tls_cert), config_source.path(settings.tls_key)
    return ReloadingValue("web.tls_cert, web.tls_key", (cert, key), lambda: tls_context(cert, key))


def _load_public_key(config_source: ConfigSource, file: str) -> ReloadingValue[webhook.SignatureVerifier]:
    """Return the key that verifies signatures. Raise SettingsError if it is invalid."""
    return ReloadingValue(
        "web.alloy_public_key",
        (config_source.path(file),),
        lambda: webhook.SignatureVerifier.of(config_source, file),
    )
