"""The causes of failed TLS handshakes: the certificate, the files of trusted certificates, and the protocol."""

import os
import re
import ssl
from pathlib import Path

from forwarder.machine_errors import key_log_error
from forwarder.network_problem import ConnectionAttempt, NetworkProblem, exception_names

CA_VARIABLES = {
    "SSL_CERT_FILE": ("SSL_CERT_FILE", "SSL_CERT_DIR"),
    "AWS_CA_BUNDLE": ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
}
"""The variables that name trusted certificates, keyed by the variable that a hint recommends."""

OTHER_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
)
"""Variables that name trusted certificates for common programs. A hint names one that is set but has no effect."""


REPLACE_CERTIFICATE_HINT = "the server needs another certificate"

INVALID_CERTIFICATE = {
    9: ("its certificate is not valid yet", "correct this machine's clock, which is probably behind"),
    10: ("its certificate has expired", "renew the server's certificate, or correct this machine's clock"),
    23: ("its certificate was revoked", REPLACE_CERTIFICATE_HINT),
    62: ("its certificate is for another host name", "check the address; another server may listen there"),
    64: ("its certificate is for another address", "check the address; another server may listen there"),
    66: ("its certificate has a key that is too weak", REPLACE_CERTIFICATE_HINT),
    67: ("its certificate's issuer has a key that is too weak", REPLACE_CERTIFICATE_HINT),
    68: ("its certificate is signed with a hash that is too weak", REPLACE_CERTIFICATE_HINT),
}
"""The verification errors of OpenSSL that a trusted issuer does not fix: cause and hint."""

RFC_5280_CODES = frozenset({24, 25, 26, 32, 34, 37, 41, 42, 47, 48, 51, 52, 53, *range(79, 95)})
"""The verification errors of OpenSSL for certificates of a trusted issuer that break rules of RFC 5280.

OpenSSL checks the codes from 80 on only with X509_V_FLAG_X509_STRICT, which Python sets since 3.13.
"""

RFC_5280_HINT = (
    "this certificate, or the issuer's, breaks RFC 5280, which Python checks strictly since 3.13: have the certificate"
    " authority, or the proxy that inspects TLS, issue a correct one"
)

UNTRUSTED_ISSUER = {
    2: "unknown issuer",
    18: "self-signed",
    19: "self-signed certificate authority",
    20: "unknown issuer",
    21: "unknown issuer",
}


def unwritable_key_log(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain that the file of TLS keys cannot be written, or return None for another error."""
    found = key_log_error(error) if isinstance(error, OSError) else None
    return None if found is None else attempt.problem(found.message, found.hint)


def untrusted_certificate(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain a certificate that is invalid or not trusted, or return None for another error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        # urllib3 compares the host name with the certificate itself, and raises its own error.
        is_name = "CertificateError" in exception_names(error) and "match" in str(error)
        return attempt.problem(*INVALID_CERTIFICATE[62]) if is_name else None
    code = getattr(error, "verify_code", 0)
    if code in INVALID_CERTIFICATE:
        return attempt.problem(*INVALID_CERTIFICATE[code])
    if not code:  # aiohttp's wrapper has this class too, but has no code
        return None
    detail = UNTRUSTED_ISSUER.get(code) or getattr(error, "verify_message", "") or f"OpenSSL's error {code}"
    if code in RFC_5280_CODES:
        return attempt.problem(f"its certificate is not valid ({detail})", RFC_5280_HINT)
    return attempt.problem(f"its certificate is not trusted ({detail})", _trust_hint(attempt))


def _trust_hint(attempt: ConnectionAttempt) -> str:
    """Return a hint that names the variable to set. It also names a variable that is set but has no effect."""
    variable, environ = attempt.ca_variable, attempt.environ
    usable = CA_VARIABLES.get(variable, (variable,))
    for name in usable:
        if path := environ.get(name, "").strip():
            if fault := _ca_file_fault(path, name):
                return f"{name} names {path}, {fault}: correct it, or unset it"
            return f"add the issuer's certificate to {path} (from {name}), or correct {name}"
    for name in OTHER_CA_VARIABLES:
        if name not in usable and (path := environ.get(name, "").strip()):
            return f"{name} is set, but has no effect here: set {variable} too, to {path}"
    return f"set {variable} to a PEM file with the issuer's certificate; a proxy that inspects TLS has its own issuer"


PEM_CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")


def _ca_file_fault(path: str, variable: str) -> str:
    """Return the fault of a file of certificates as a relative clause, such as "which does not exist".

    Return an empty text if it has no fault. `variable` names the path; SSL_CERT_DIR names directories.
    """
    if variable == "SSL_CERT_DIR":
        found = any(Path(current).is_dir() for current in path.split(os.pathsep))
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


def unreadable_ca_file(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain a CA file that cannot be loaded. The ssl module does not name the file, so it is searched for."""
    is_os = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
    is_content = isinstance(error, ssl.SSLError) and ("CERTIFICATE_OR_CRL" in str(error) or "PEM" in str(error))
    if not is_os and not is_content:
        return None
    named = getattr(error, "filename", None)
    for name in CA_VARIABLES.get(attempt.ca_variable, (attempt.ca_variable,)):
        path = attempt.environ.get(name, "").strip()
        if path and (named is None or str(named) == path) and (fault := _ca_file_fault(path, name)):
            return attempt.problem(f"{name} names {path}, {fault}", f"correct {name}, or unset it")
    if is_content or (named is None and error.args[:1] != (None,) and _has_no_file_name(error)):
        return attempt.problem("the file of trusted certificates cannot be read", f"check {attempt.ca_variable}")
    return None


def _has_no_file_name(error: BaseException) -> bool:
    """Return whether an error may be the ssl module's, which has a number and a text but no file name."""
    return isinstance(error, FileNotFoundError | IsADirectoryError) and getattr(error, "filename", None) is None


# The handshake

PLAIN_HTTP_REASONS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)
TLS_VERSION_REASONS = (
    "UNSUPPORTED_PROTOCOL",
    "PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
    "INAPPROPRIATE",
)
CONNECTION_ENDED_ERRORS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""Errors which mean that the connection ended, or that more bytes were expected."""

CLIENT_CERTIFICATE_REASONS = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA")


def failed_handshake(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain a TLS handshake that failed, or return None for another error."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, CONNECTION_ENDED_ERRORS):
        return None
    reason = f"{getattr(error, 'reason', '') or ''} {error}".upper().replace(" ", "_")
    if "UNEXPECTED_EOF" in reason:
        return None
    if any(name in reason for name in PLAIN_HTTP_REASONS) or "RECORD_LAYER_FAILURE" in reason:
        return attempt.problem(
            "it does not respond with TLS (plain HTTP on this port?)", "check the scheme and the port of the address"
        )
    if any(name in reason for name in TLS_VERSION_REASONS):
        return attempt.problem("it supports no TLS version that is accepted here", "the server needs TLS 1.2 or newer")
    if any(name in reason for name in CLIENT_CERTIFICATE_REASONS):
        return attempt.problem("it requires a client certificate", "client certificates are not supported")
    short = getattr(error, "reason", None) or type(error).__name__
    return attempt.problem(f"the TLS handshake failed ({short})", "check which server listens at this address")


def tls_response_to_http(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    """Explain a TLS alert that was read as HTTP. The libraries quote its first bytes."""
    if r"\x15\x03" not in str(error) and "\x15\x03" not in str(error):
        return None
    return attempt.problem("it responds with TLS, not plain HTTP", "write https:// in the address")


def unknown_certificate(error: BaseException, attempt: ConnectionAttempt) -> NetworkProblem | None:
    matches = isinstance(error, ssl.SSLCertVerificationError)
    return attempt.problem("its certificate is not trusted", _trust_hint(attempt)) if matches else None
