"""The causes of failed connections, as reported by the operating system, OpenSSL or a proxy, with a hint for each.

The libraries wrap the cause several times (httpx around httpcore around anyio, botocore around aiohttp), and keep it in
different places. The hint has to come from the cause.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from forwarder import tls_errors
from forwarder.network_problem import ConnectionAttempt, NetworkProblem, exception_names

__all__ = ["NetworkProblem", "explain", "without_credentials"]

MAX_CAUSES = 64


def explain(
    error: BaseException,
    *,
    target: str,
    ca_variable: str,
    proxy: str = "",
    environ: Mapping[str, str] | None = None,
) -> NetworkProblem | None:
    """Return the cause of a failed connection with a hint, or None if no rule matches the error or its causes.

    `target` names the peer ("the logs API embedded.runalloy.com:443"). `ca_variable` is the variable that names
    trusted certificates for it. `proxy` is the URL of the proxy in use, if any; only its host and port are shown.
    """
    causes = list(_causes(error))
    proxy = proxy or next((url for cause in causes if (url := _proxy_in_error(cause))), "")
    attempt = ConnectionAttempt(
        target, ca_variable, without_credentials(proxy), os.environ if environ is None else environ
    )
    for rule in RULES:
        for cause in causes:
            if problem := rule(cause, attempt):
                return problem
    return None


def without_credentials(url: str) -> str:
    """Return `host:port` of a URL, or the host alone if it names no port.

    A proxy's URL may hold a user name and a password. Return a placeholder text if the URL cannot be parsed.
    """
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(its address cannot be read)"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that it wraps, each once, outermost first, at most MAX_CAUSES."""
    pending: list[object] = [error]
    visited: set[int] = set()
    while pending and len(visited) < MAX_CAUSES:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or id(current) in visited:
            continue
        visited.add(id(current))
        yield current
        pending += [current.__cause__, current.__context__, *current.args]
        pending += [
            getattr(current, name, None) for name in ("os_error", "certificate_error", "reason", "original_error")
        ]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
        if isinstance(kwargs := getattr(current, "kwargs", None), Mapping):
            pending.append(kwargs.get("error"))


def _proxy_in_error(error: BaseException) -> str:
    """Return the address of the proxy that botocore or aiohttp failed to reach, or an empty text."""
    if "ClientProxyConnectionError" in exception_names(error):
        return f"{getattr(error, 'host', '')}:{getattr(error, 'port', '')}"
    kwargs = getattr(error, "kwargs", None)
    if not isinstance(kwargs, Mapping):
        return ""
    if proxy := kwargs.get("proxy_url"):
        return str(proxy)
    # aiohttp names the host that it connected to. If this is not botocore's endpoint, it is the proxy.
    failed, endpoint = (
        getattr(kwargs.get("error"), "host", None),
        urlsplit(str(kwargs.get("endpoint_url", ""))).hostname,
    )
    return f"{failed}:{getattr(kwargs['error'], 'port', '')}" if failed and endpoint and failed != endpoint else ""


# The proxy

CONNECT_STATUS = re.compile(r"(?:Tunnel connection failed: )?([2-5]\d\d)\b")


def _proxy_refusal(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain a CONNECT request that a proxy refused. Return None for any other error.

    aiohttp has the proxy's status in an attribute, httpx and urllib3 have it in the message.
    """
    status = getattr(error, "status", None) if "ClientHttpProxyError" in exception_names(error) else None
    if (
        status is None
        and (found := CONNECT_STATUS.match(str(error)))
        and exception_names(error) & {"ProxyError", "OSError"}
    ):
        status = int(found[1])
    if status is None:
        return None
    proxy = f"the proxy {attempt.proxy}" if attempt.proxy else "the proxy"
    if status >= 500:  # noqa: PLR2004  # the proxy cannot reach the target
        message = f"{attempt.target} cannot be reached: {proxy} cannot connect to it ({status})"
    else:
        message = f"{attempt.target} cannot be reached: {proxy} refuses to connect to it ({status})"
    if status == 407:  # noqa: PLR2004  # Proxy Authentication Required
        return NetworkProblem(message, "put the user name and the password into HTTPS_PROXY: http://USER:PASSWORD@HOST")
    return NetworkProblem(message, "allow this host in the proxy, or exempt it with NO_PROXY")


def _proxy_unusable(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    text = str(error).lower()
    if isinstance(error, ImportError) and "socks" in text:
        message = f"{attempt.target} cannot be reached: SOCKS proxies are not supported"
        return NetworkProblem(message, "set HTTPS_PROXY or ALL_PROXY to an HTTP proxy")
    is_scheme = isinstance(error, ValueError) and "proxy" in text and "scheme" in text
    # botocore reports the scheme as the host if it is not http or https.
    if is_scheme or attempt.proxy.split(":")[0] in {"socks4", "socks4a", "socks5", "socks5h", "ftp"}:
        message = f"{attempt.target} cannot be reached: the scheme of the proxy's address is not supported"
        return NetworkProblem(message, "write HTTPS_PROXY, HTTP_PROXY or ALL_PROXY as http://HOST:PORT")
    return None


# The connection

REFUSED = (errno.ECONNREFUSED,)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL)
BLOCKED = (errno.EPERM, errno.EACCES)
DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def _resolution(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return attempt.peer_problem(
                "its name cannot be resolved now (no response from DNS)", "check DNS and the network of this machine"
            )
        return attempt.peer_problem("its name cannot be resolved", "check the spelling of the host name, and DNS")
    if exception_names(error) & {"ClientConnectorDNSError", "NameResolutionError"}:
        return attempt.peer_problem("its name cannot be resolved", "check the spelling of the host name, and DNS")
    if isinstance(error, UnicodeError) and ("label" in str(error) or "idna" in str(error)):
        return attempt.peer_problem("its name is not a valid host name", "check the spelling of the host name")
    return None


def _errno_rule(
    numbers: tuple[int, ...], cause: str, hint: str
) -> Callable[[BaseException, ConnectionAttempt], NetworkProblem | None]:
    def rule(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
        matches = isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in numbers
        return attempt.peer_problem(cause, hint) if matches else None

    return rule


def _timeout(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    names = exception_names(error)
    is_connect = bool(names & {"ConnectTimeout", "ConnectTimeoutError", "ConnectionTimeoutError"})
    if is_connect or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT):
        return attempt.peer_problem("the connection timed out", "check the firewall and the route to it")
    return None


def _connection_closed(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    names = exception_names(error)
    is_end = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "UNEXPECTED_EOF" in str(error)
    is_end = is_end or bool(names & {"EndOfStream", "ServerDisconnectedError"}) or "disconnected" in str(error)
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError) or is_end:
        return attempt.problem(
            "the connection was closed without a response",
            "check whether a firewall or a proxy closes it, and which server listens at this address",
        )
    return None


def _no_response(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    is_timeout = bool(exception_names(error) & {"TimeoutError", "TimeoutException", "ReadTimeoutError"})
    return attempt.problem("no response in time", "check the network to this address") if is_timeout else None


RULES: tuple[Callable[[BaseException, ConnectionAttempt], NetworkProblem | None], ...] = (
    tls_errors.unwritable_key_log,
    tls_errors.untrusted_certificate,
    tls_errors.unknown_certificate,
    tls_errors.unreadable_ca_file,
    _proxy_unusable,
    _proxy_refusal,
    tls_errors.failed_handshake,
    tls_errors.tls_response_to_http,
    _resolution,
    _errno_rule(
        REFUSED, "the connection is refused", "check the address and the port, and that something listens there"
    ),
    _errno_rule(DESCRIPTORS, "too many files are open", "raise the limit of open files (ulimit -n, LimitNOFILE)"),
    _errno_rule(
        BLOCKED, "this machine forbids the connection", "check the local firewall and the sandbox of the service"
    ),
    _timeout,
    _errno_rule(UNREACHABLE, "there is no route to it", "check the network of this machine"),
    _connection_closed,
    _no_response,
)
"""The rules, most specific first. One error may wrap several causes, such as one for each address of a host."""
