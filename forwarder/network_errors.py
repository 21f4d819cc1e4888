"""Causes of failed connections: what the operating system, OpenSSL or a proxy reported, as a message and a hint.

The libraries wrap the cause several times (httpx around httpcore around anyio, botocore around aiohttp), and keep
it in different places. Only the cause tells what to change.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MAX_CAUSES = 64

HONOURED = {
    "SSL_CERT_FILE": ("SSL_CERT_FILE", "SSL_CERT_DIR"),
    "AWS_CA_BUNDLE": ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
}
"""The variables that name trusted certificates, by the one that a hint recommends."""

ELSEWHERE = (
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
)
"""Variables that name trusted certificates for some program."""


@dataclass(frozen=True, slots=True)
class NetworkProblem:
    """A failed connection. `message` names the peer and the cause, `hint` the fix. Neither holds a secret."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection that failed. `peer` is the proxy if one is used: a failure to connect is a failure to reach it."""

    target: str
    ca_variable: str
    proxy: str
    environ: Mapping[str, str]

    @property
    def peer(self) -> str:
        return f"the proxy {self.proxy}" if self.proxy else self.target

    def fails(self, cause: str, hint: str) -> NetworkProblem:
        way = f" through the proxy {self.proxy}" if self.proxy else ""
        return NetworkProblem(f"{self.target} cannot be reached{way}: {cause}", hint)

    def peer_fails(self, cause: str, hint: str) -> NetworkProblem:
        if not self.proxy:
            return NetworkProblem(f"{self.target} cannot be reached: {cause}", hint)
        hint = f"check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; {hint}"
        return NetworkProblem(f"{self.target} cannot be reached: {self.peer}: {cause}", hint)


def explain(
    error: BaseException,
    *,
    target: str,
    ca_variable: str,
    proxy: str = "",
    environ: Mapping[str, str] | None = None,
) -> NetworkProblem | None:
    """Return the cause of a failed connection, or None if the error is no failed connection.

    `target` names the peer ("the logs API embedded.runalloy.com:443"). `ca_variable` is the variable that names
    trusted certificates for it. `proxy` is the URL of the proxy in use, if any; only its host and port are shown.
    """
    causes = list(_causes(error))
    proxy = proxy or next((url for cause in causes if (url := _proxy_of(cause))), "")
    attempt = Attempt(target, ca_variable, without_credentials(proxy), os.environ if environ is None else environ)
    for rule in RULES:
        for cause in causes:
            if problem := rule(cause, attempt):
                return problem
    return None


def without_credentials(url: str) -> str:
    """Return `host:port` of a URL. A proxy's URL may hold a user name and a password."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(its address cannot be read)"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and every error that it wraps, each once, outermost first."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < MAX_CAUSES:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *one.args]
        waiting += [getattr(one, name, None) for name in ("os_error", "certificate_error", "reason", "original_error")]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if isinstance(kwargs := getattr(one, "kwargs", None), Mapping):
            waiting.append(kwargs.get("error"))


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _proxy_of(error: BaseException) -> str:
    """Return the proxy that botocore or aiohttp failed to reach."""
    if "ClientProxyConnectionError" in _names(error):
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


# The certificate


ANOTHER_CERTIFICATE = "the server needs another certificate"

INVALID = {
    9: ("its certificate is not valid yet", "correct this machine's clock, which is probably behind"),
    10: ("its certificate has expired", "renew the server's certificate, or correct this machine's clock"),
    23: ("its certificate was revoked", ANOTHER_CERTIFICATE),
    62: ("its certificate is for another host name", "check the address; something else may answer there"),
    64: ("its certificate is for another address", "check the address; something else may answer there"),
    66: ("its certificate has a key that is too weak", ANOTHER_CERTIFICATE),
    67: ("its certificate's issuer has a key that is too weak", ANOTHER_CERTIFICATE),
    68: ("its certificate is signed with a hash that is too weak", ANOTHER_CERTIFICATE),
}
"""OpenSSL's verification errors that trust in another issuer does not fix: cause and hint."""

UNTRUSTED = {
    2: "unknown issuer",
    18: "self-signed",
    19: "self-signed certificate authority",
    20: "unknown issuer",
    21: "unknown issuer",
}


def _untrusted(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    if not isinstance(error, ssl.SSLCertVerificationError):
        # urllib3 compares names with the certificate's, and has an error of its own for it.
        is_name = "CertificateError" in _names(error) and "match" in str(error)
        return attempt.fails(*INVALID[62]) if is_name else None
    code = getattr(error, "verify_code", 0)
    if code in INVALID:
        return attempt.fails(*INVALID[code])
    if not code:  # aiohttp's wrapper is of this class too, and does not know the reason
        return None
    # The others are such as the strict rules of RFC 5280, which Python checks from 3.13 on.
    detail = UNTRUSTED.get(code) or getattr(error, "verify_message", "") or f"OpenSSL's error {code}"
    return attempt.fails(f"its certificate is not trusted ({detail})", _trust_hint(attempt))


def _trust_hint(attempt: Attempt) -> str:
    """Name the variable that makes the certificate trusted, and the one that was set in vain."""
    variable, environ = attempt.ca_variable, attempt.environ
    usable = HONOURED.get(variable, (variable,))
    for name in usable:
        if path := environ.get(name, "").strip():
            if fault := _fault_of(path, name):
                return f"{name} names {path}, {fault}: correct it, or unset it"
            return f"add the issuer's certificate to {path} (from {name}), or correct {name}"
    for name in ELSEWHERE:
        if name not in usable and (path := environ.get(name, "").strip()):
            return f"{name} is set, but has no effect here: set {variable} too, to {path}"
    return f"set {variable} to a PEM file with the issuer's certificate; a proxy that inspects TLS has its own issuer"


PEM_CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")


def _fault_of(path: str, variable: str) -> str:
    """Return what is wrong with a file or directory of certificates, or an empty text."""
    if variable == "SSL_CERT_DIR":
        found = any(Path(one).is_dir() for one in path.split(os.pathsep))
        return "" if found else "which is no directory"
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return "which does not exist"
    except IsADirectoryError:
        return "which is a directory"
    except (OSError, ValueError):
        return "which cannot be read"
    return "" if PEM_CERTIFICATE.search(content) else "which holds no certificate in PEM form"


def _unreadable_ca(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    """Explain a CA file that cannot be loaded: the ssl module names no file."""
    is_os = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
    is_content = isinstance(error, ssl.SSLError) and ("CERTIFICATE_OR_CRL" in str(error) or "PEM" in str(error))
    if not is_os and not is_content:
        return None
    named = getattr(error, "filename", None)
    for name in HONOURED.get(attempt.ca_variable, (attempt.ca_variable,)):
        path = attempt.environ.get(name, "").strip()
        if path and (named is None or str(named) == path) and (fault := _fault_of(path, name)):
            return attempt.fails(f"{name} names {path}, {fault}", f"correct {name}, or unset it")
    if is_content or (named is None and error.args[:1] != (None,) and _has_no_path(error)):
        return attempt.fails("the file of trusted certificates cannot be read", f"check {attempt.ca_variable}")
    return None


def _has_no_path(error: BaseException) -> bool:
    """Tell the ssl module's error, which has only a number and a text, from one of a connection or another file."""
    return isinstance(error, FileNotFoundError | IsADirectoryError) and getattr(error, "filename", None) is None


# TLS itself

PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
VERSIONS = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "INAPPROPRIATE")
NO_TLS_FAULT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""They mean that the connection ended, or that more bytes were awaited."""

CLIENT_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA")


def _tls(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    if not isinstance(error, ssl.SSLError) or isinstance(error, NO_TLS_FAULT):
        return None
    reason = f"{getattr(error, 'reason', '') or ''} {error}".upper().replace(" ", "_")
    if "UNEXPECTED_EOF" in reason:
        return None
    if any(name in reason for name in PLAIN) or "RECORD_LAYER_FAILURE" in reason:
        return attempt.fails(
            "it does not answer with TLS (plain HTTP on this port?)", "check the scheme and the port of the address"
        )
    if any(name in reason for name in VERSIONS):
        return attempt.fails("it supports no TLS version that is accepted here", "the server needs TLS 1.2 or newer")
    if any(name in reason for name in CLIENT_CERTIFICATE):
        return attempt.fails("it asks for a client certificate", "client certificates are not supported")
    short = getattr(error, "reason", None) or type(error).__name__
    return attempt.fails(f"the TLS handshake failed ({short})", "check what answers at this address")


def _tls_on_plain(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    """Explain a TLS alert that was read as HTTP. The libraries quote its first bytes."""
    if r"\x15\x03" not in str(error) and "\x15\x03" not in str(error):
        return None
    return attempt.fails("it answers with TLS, not plain HTTP", "write https:// in the address")


# The proxy

CONNECT_STATUS = re.compile(r"(?:Tunnel connection failed: )?([2-5]\d\d)\b")


def _proxy_refusal(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    """Explain the status of a CONNECT request: an attribute in aiohttp, a text in httpx and urllib3."""
    status = getattr(error, "status", None) if "ClientHttpProxyError" in _names(error) else None
    if status is None and (found := CONNECT_STATUS.match(str(error))) and _names(error) & {"ProxyError", "OSError"}:
        status = int(found[1])
    if status is None:
        return None
    proxy = f"the proxy {attempt.proxy}" if attempt.proxy else "the proxy"
    if status >= 500:  # noqa: PLR2004  # the proxy's own trouble with the target
        message = f"{attempt.target} cannot be reached: {proxy} cannot connect to it ({status})"
    else:
        message = f"{attempt.target} cannot be reached: {proxy} refuses to connect to it ({status})"
    if status == 407:  # noqa: PLR2004  # Proxy Authentication Required
        return NetworkProblem(message, "put the user name and the password into HTTPS_PROXY: http://USER:PASSWORD@HOST")
    return NetworkProblem(message, "allow this host in the proxy, or exempt it with NO_PROXY")


def _proxy_unusable(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    text = str(error).lower()
    if isinstance(error, ImportError) and "socks" in text:
        message = f"{attempt.target} cannot be reached: SOCKS proxies are not supported"
        return NetworkProblem(message, "set HTTPS_PROXY or ALL_PROXY to an HTTP proxy")
    is_scheme = isinstance(error, ValueError) and "proxy" in text and "scheme" in text
    # botocore takes the scheme for the host if it is not http or https.
    if is_scheme or attempt.proxy.split(":")[0] in {"socks4", "socks4a", "socks5", "socks5h", "ftp"}:
        message = f"{attempt.target} cannot be reached: the scheme of the proxy's address is not supported"
        return NetworkProblem(message, "write HTTPS_PROXY, HTTP_PROXY or ALL_PROXY as http://HOST:PORT")
    return None


# The connection

REFUSED = (errno.ECONNREFUSED,)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL)
BLOCKED = (errno.EPERM, errno.EACCES)
DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def _resolution(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return attempt.peer_fails(
                "its name cannot be resolved now (no answer from DNS)", "check DNS and the network of this machine"
            )
        return attempt.peer_fails("its name cannot be resolved", "check the spelling of the host name, and DNS")
    if _names(error) & {"ClientConnectorDNSError", "NameResolutionError"}:
        return attempt.peer_fails("its name cannot be resolved", "check the spelling of the host name, and DNS")
    if isinstance(error, UnicodeError) and ("label" in str(error) or "idna" in str(error)):
        return attempt.peer_fails("its name is no host name", "check the spelling of the host name")
    return None


def _number(
    numbers: tuple[int, ...], cause: str, hint: str
) -> Callable[[BaseException, Attempt], NetworkProblem | None]:
    def rule(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
        is_one = isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in numbers
        return attempt.peer_fails(cause, hint) if is_one else None

    return rule


def _timeout(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    names = _names(error)
    is_connect = bool(names & {"ConnectTimeout", "ConnectTimeoutError", "ConnectionTimeoutError"})
    if is_connect or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT):
        return attempt.peer_fails("the connection timed out", "check the firewall and the route to it")
    return None


def _reset(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    names = _names(error)
    is_end = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "UNEXPECTED_EOF" in str(error)
    is_end = is_end or bool(names & {"EndOfStream", "ServerDisconnectedError"}) or "disconnected" in str(error)
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError) or is_end:
        return attempt.fails(
            "the connection was closed before an answer",
            "a firewall or a proxy may cut it; check what answers at this address",
        )
    return None


def _silence(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    is_silence = bool(_names(error) & {"TimeoutError", "TimeoutException", "ReadTimeoutError"})
    return attempt.fails("no answer in time", "check the network between here and there") if is_silence else None


def _unknown_certificate(error: BaseException, attempt: Attempt) -> NetworkProblem | None:
    is_one = isinstance(error, ssl.SSLCertVerificationError)
    return attempt.fails("its certificate is not trusted", _trust_hint(attempt)) if is_one else None


RULES: tuple[Callable[[BaseException, Attempt], NetworkProblem | None], ...] = (
    _untrusted,
    _unknown_certificate,
    _unreadable_ca,
    _proxy_unusable,
    _proxy_refusal,
    _tls,
    _tls_on_plain,
    _resolution,
    _number(REFUSED, "the connection is refused", "check the address and the port, and that something listens there"),
    _number(DESCRIPTORS, "too many files are open", "raise the limit of open files (ulimit -n, LimitNOFILE)"),
    _number(BLOCKED, "this machine forbids the connection", "check the local firewall and the sandbox of the service"),
    _timeout,
    _number(UNREACHABLE, "there is no route to it", "check the network of this machine"),
    _reset,
    _silence,
)
"""The most telling cause first: one error may wrap several, such as one for each address of a host."""
