"""The command `forwarder health`."""

import socket
import ssl
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Self

import typer

from forwarder.cli._daemon_settings import find_daemon_settings
from forwarder.cli.output import JsonOption, echo, print_error, print_json
from forwarder.errors import ForwarderError, ListenerNotConfigured, ListenerUnreachable, UsageError
from forwarder.ledger import LedgerPlace
from forwarder.model import READY_STATES
from forwarder.printable import printable
from forwarder.settings import ConfigSource
from forwarder.settings.local_sections import WebSettings
from forwarder.settings.validators.web import parse_host_and_port
from forwarder.untrusted_json import decode_or_none
from forwarder.web.listen_address import reachable_address

TIMEOUT_SECONDS: Final = 5.0
MAX_RESPONSE_BYTES: Final = 65_536
MAX_REASON_CHARACTERS: Final = 300
UNHEALTHY_HINT: Final = "`forwarder status` shows the reason and a hint for each component"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Listener:
    """The address at which this machine reaches the health endpoints of the daemon.

    `key` is the setting that names the address: `health_listen` or `listen`.
    """

    key: str
    host: str
    port: int
    scheme: str

    @classmethod
    def of(cls, web: WebSettings) -> Self | None:
        """Return the listener that the settings name, or None if they name none."""
        key = "health_listen" if web.health_listen else "listen"
        listen = web.health_listen or web.listen
        if not listen:
            return None
        host, port = parse_host_and_port(listen)
        return cls(key, reachable_address(host), port, "https" if key == "listen" and web.tls_cert else "http")

    @property
    def authority(self) -> str:
        """Return the value of the Host header, without the port if it is the default one of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class HealthResult:
    """The result of one health check. Without a listener, `address` is empty, and `status` and `response` are None.

    `response` is also None if another program responded.
    """

    healthy: bool
    address: str
    status: int | None
    reason: str
    response: dict[str, Any] | None


def health(
    context: typer.Context,
    *,
    ready: Annotated[bool, typer.Option("--ready", help="Request /readyz instead of /livez.")] = False,
    started: Annotated[
        bool,
        typer.Option(
            "--started",
            help="Request /startupz instead of /livez: unhealthy until logs API, ledger and bus worked once.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether the running daemon is healthy, for health checks of containers and for scripts.

    It exits with 0 if the daemon is healthy, 1 if it is not, 69 if nothing responds, 78 if the settings are invalid and
    no daemon is found. Without a listener, the ledger's lock decides: a running process is healthy.

    Example: forwarder health --ready
    """
    config_source: ConfigSource = context.obj
    if ready and started:
        raise UsageError("--ready excludes --started")
    try:
        result = request_health(config_source, path="/readyz" if ready else "/startupz" if started else "/livez")
    except ForwarderError as error:
        if not as_json:
            raise
        print_json({**asdict(HealthResult(False, "", None, error.message, None)), "hint": error.hint})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        print_json({**asdict(result), "hint": ""})
    elif result.healthy:
        echo(result.reason)
    else:
        print_error(ForwarderError(result.reason, hint=UNHEALTHY_HINT))
    raise typer.Exit(0 if result.healthy else 1)


def request_health(config_source: ConfigSource, *, path: str) -> HealthResult:
    """Return the health that the running daemon reports under `path`: `/livez`, `/startupz` or `/readyz`.

    Without a known listener, the ledger's lock decides about `/livez`. Raise ListenerNotConfigured if the settings do
    not name the port, or for another path no listener; ListenerUnreachable if no daemon responds; SettingsError if the
    settings are invalid and no daemon is found.
    """
    found = find_daemon_settings(config_source)
    is_locked = found.place.is_locked() if found.error else None
    if found.error and is_locked is False:
        raise found.error
    listener = Listener.of(found.settings.web)
    if listener is None:
        return _without_listener(found.place, path)
    try:
        result = _request(listener, path)
    except (ListenerUnreachable, ListenerNotConfigured):
        if found.error and not is_locked:  # a shared ledger has no lock
            raise found.error from None
        if found.error and not found.knows_listener:
            return _without_listener(found.place, path, "its listener is not known, because the settings are invalid")
        raise
    if found.error and not is_locked and not result.healthy:
        raise found.error
    return result


def _request(listener: Listener, path: str) -> HealthResult:
    if listener.port == 0:
        raise ListenerNotConfigured(
            f"web.{listener.key} has port 0, so the daemon's port is not known here",
            hint=f"set a fixed port in {listener.key}, or set [web] health_listen",
        )
    return _interpret(f"{listener.url}{path}", *_get(listener, path))


def _without_listener(place: LedgerPlace, path: str, cause: str = "no listener is configured") -> HealthResult:
    is_locked = place.is_locked()
    if path != "/livez" or is_locked is None:
        missing = f"nothing responds to {path}" if path != "/livez" else f"{place} has no lock that shows a process"
        raise ListenerNotConfigured(f"{cause}, and {missing}", hint='set [web] health_listen, e.g. to "127.0.0.1:8788"')
    if not is_locked:
        raise ListenerUnreachable(
            f"no forwarder runs on {place}: no process holds its lock",
            hint=f"start it with `forwarder run`; {cause}, so only the lock shows whether it runs",
        )
    return HealthResult(True, "", None, f"healthy: a process holds the ledger's lock; {cause}", None)


def _get(listener: Listener, path: str) -> tuple[int, bytes]:
    """Return the status and the body of a response. Raise ListenerUnreachable without a response.

    The request is written to a socket directly, so that no proxy variable applies and one deadline covers everything.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    # `localhost` is bound as IPv4 only. Resolving it could lead to another program on ::1.
    host = "127.0.0.1" if listener.host == "localhost" else listener.host
    request = f"GET {path} HTTP/1.0\r\nHost: {listener.authority}\r\nUser-Agent: forwarder-health\r\n\r\n"
    response = bytearray()
    try:
        with socket.create_connection((host, listener.port), timeout=TIMEOUT_SECONDS) as plain:
            connection = _tls().wrap_socket(plain) if listener.scheme == "https" else plain
            with connection:
                connection.sendall(request.encode())
                while len(response) < MAX_RESPONSE_BYTES:
                    connection.settimeout(max(0.001, deadline - time.monotonic()))
                    if not (chunk := connection.recv(MAX_RESPONSE_BYTES)):
                        break
                    response += chunk
    except OSError as error:
        raise _unreachable(listener, error) from None
    head, _, body = bytes(response).partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():  # noqa: PLR2004  # version, status
        raise ListenerUnreachable(f"{listener.url} does not respond with HTTP", hint=_hint(listener))
    return int(words[1]), body


def _tls() -> ssl.SSLContext:
    """Return a context that verifies nothing.

    The other end is this machine's own process at an address of this machine, and the request holds no secret. The
    certificate is made for the public name, which the check does not know, and may be expired or signed privately.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _unreachable(listener: Listener, error: OSError) -> ListenerUnreachable:
    match error:
        case TimeoutError():
            cause = f"no response within {TIMEOUT_SECONDS:g} s"
        case ssl.SSLError():
            cause = f"TLS failed: {error.reason or type(error).__name__}"
        case _:
            cause = (error.strerror or type(error).__name__).lower()
    return ListenerUnreachable(f"{listener.url} (web.{listener.key}) cannot be reached: {cause}", hint=_hint(listener))


def _hint(listener: Listener) -> str:
    return f"start `forwarder run` on this machine; a change of [web] {listener.key} takes effect at its next start"


def _interpret(url: str, status: int, body: bytes) -> HealthResult:
    """Return the health that a response reports. A response of another program counts as unhealthy."""
    response = decode_or_none(body)
    key = "ready" if url.endswith("/readyz") else "live"
    if not isinstance(response, dict) or not isinstance(response.get(key), bool):
        text = printable(body.decode(errors="replace").strip().partition("\n")[0])[:MAX_REASON_CHARACTERS]
        reason = f"{url} responds with {status}, but not as a forwarder" + (f": {text}" if text else "")
        return HealthResult(False, url, status, reason, None)
    if status == HTTPStatus.OK and response[key]:
        return HealthResult(True, url, status, f"healthy: {url} responds with {status}", response)
    reasons = _reasons(response)
    reason = f"unhealthy: {url} responds with {status}" + (f": {reasons}" if reasons else "")
    return HealthResult(False, url, status, reason, response)


def _reasons(response: dict[str, Any]) -> str:
    """Return the reasons that the response names, for example `stalled: source` or `bus is FAILED`."""
    late, parts = response.get("stalled"), response.get("components")
    result = [f"stalled: {', '.join(map(str, late))}"] if isinstance(late, list) and late else []
    if response.get("draining") is True:
        result.append("it is stopping")
    if isinstance(parts, dict):
        result += [f"{name} is {state}" for name, state in parts.items() if str(state) not in READY_STATES]
    return "; ".join(result)[:MAX_REASON_CHARACTERS]
