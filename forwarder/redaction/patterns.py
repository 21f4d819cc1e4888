"""The table of redaction patterns. Each row has markers, signs, a replacement and the documentation that it rests on.

A marker is a substring that occurs in every match. So does one of the signs, if a row has any. `matching.py` applies
the rows. `vendors.py` has the key formats of vendors; their marker is the prefix of the key.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

from forwarder.redaction import markup, pairs
from forwarder.redaction.sensitive_names import MARKERS, STEMS_IN_PROSE, IsSecret
from forwarder.redaction.values import REDACTED
from forwarder.redaction.vendors import KEY_PARTS, WEBHOOKS

Replace = Callable[[str, IsSecret], str]


class PatternRow(NamedTuple):
    """A row of the table: one form of a secret.

    A text in lower case contains one of the `markers` if the row matches it. It also contains one of the `signs`, such
    as punctuation, unless the row has none. `replace` returns a text without secrets of this form.
    """

    markers: tuple[str, ...]
    signs: tuple[str, ...]
    replace: Replace
    source: str


def _row(
    markers: tuple[str, ...],
    signs: tuple[str, ...],
    pattern: str,
    source: str,
    replacement: str | Callable[[re.Match[str]], str] = rf"\g<start>{REDACTED}",
) -> PatternRow:
    sub = re.compile(pattern).sub
    return PatternRow(markers, signs, lambda text, _: sub(replacement, text), source)


def _basic(found: re.Match[str]) -> str:
    """Return a match of "Basic" and a word, with the word redacted if it is base64 of a text with a colon (RFC 7617).

    Any other word is part of an English sentence, and is kept.
    """
    value = found["value"]
    try:
        is_secret = b":" in base64.b64decode(value + "===", altchars=b"-_" if "_" in value else None)
    except binascii.Error:
        is_secret = False
    return f"{found['start']}{REDACTED}" if is_secret else found[0]


def _bearer(found: re.Match[str]) -> str:
    """Return a match of "Bearer" and a word, with the word redacted, unless it is short and in lower case."""
    value = found["value"]
    if value.startswith(REDACTED[:-1]) or (value.isalpha() and value.islower() and len(value) <= len("authentication")):
        return found[0]
    return f"{found['start']}{REDACTED}"


_NEW = r"(?!\[redacted)"
_GAP = r"(?:\s|\\r|\\n|\\t|%20|\+|:|=){1,8}"
PUNCTUATION = (" ", "=", ":", "%", "/", "@", "<", "\\", "+", "\n", "\t")
"""The signs of rows that cannot match a text of one word."""

SEPARATORS = ("=", ":", "%", "u003d", "',", '",', "', ", '", ')
BRACKETS = ("<", "lt;", "%", "u003c")

TABLE: tuple[PatternRow, ...] = (
    _row(
        ("private key",),
        PUNCTUATION,
        r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----))*+"
        r"(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----)?+",
        "RFC 7468, RFC 4880, OpenSSH PROTOCOL.key",
        REDACTED,
    ),
    _row(
        ("://",),
        ("@",),
        r"://(?P<rest>[^\s\"'<>`]{1,1024}+)",
        "RFC 3986, 3.2.1 User information",
        pairs.without_user_info,
    ),
    _row(
        ("%40", "%2540"),
        PUNCTUATION,
        r"(?i)(?P<start>%(?:25)?3A%(?:25)?2F%(?:25)?2F)(?!\[)"
        r"(?:(?!%(?:25)?(?:40|2F))[^\s\"'<>&@]){1,256}+(?=%(?:25)?40)",
        "RFC 3986, 3.2.1, percent-encoded",
    ),
    *(_row((marker,), PUNCTUATION, pattern, source) for marker, pattern, source in WEBHOOKS),
    PatternRow(MARKERS, SEPARATORS, pairs.without_pairs, "Queries, forms, cookies, headers, objects, settings files"),
    PatternRow(("_key ",), PUNCTUATION, pairs.without_pairs, "AWS CLI docs, aws configure"),
    PatternRow(MARKERS, BRACKETS, markup.without_elements, "XML 1.0, 3 Logical structures; HTML character references"),
    PatternRow(MARKERS, ('"', "'"), markup.without_titled, "RFC 7578 multipart fields; lists of names and values"),
    PatternRow(MARKERS, (" -", "\n-", "--"), markup.without_flags, "Command lines: --name value"),
    PatternRow(STEMS_IN_PROSE, (" ", "("), markup.without_prose, "Sentences: the password is …"),
    _row(
        ("curl", " -u ", "--user", "wget", "http -"),
        PUNCTUATION,
        r"(?<![\w-])(?P<start>(?:-u|-U|--user|--proxy-user)(?:[ =]{1,4}+|(?=['\"]))['\"]?+)(?!\[)"
        r"[^\s\"':]{0,128}+:(?!//)[^\s\"']{1,256}+",
        "curl manual, --user",
    ),
    _row(
        ("mysql", "mariadb", "sshpass"),
        PUNCTUATION,
        rf"(?<![\w-])(?P<start>-p(?:(?<=sshpass -p) ?|)['\"]?+){_NEW}[^\s\"'\[]{{3,256}}+",
        "MySQL manual, Command options for connecting; sshpass manual",
    ),
    _row(
        ("redis-cli", "docker", "podman", "helm", "skopeo", "buildah"),
        PUNCTUATION,
        r"(?P<start>(?:redis-cli[^\n|;]{0,128}? -a|(?:docker|podman|helm|skopeo|buildah)[^\n|;]{0,32}? login"
        r"[^\n|;]{0,128}? -p)"
        rf"[ =]{{1,4}}+['\"]?+){_NEW}[^\s\"'\[]{{3,256}}+",
        "Redis docs, redis-cli; Docker docs, docker login",
    ),
    _row(
        ("machine", "login"),
        PUNCTUATION,
        rf"(?P<start>\blogin\s{{1,8}}[^\s]{{1,128}}\s{{1,8}}password\s{{1,8}}){_NEW}[^\s\[]{{1,256}}+",
        "GNU inetutils manual, the .netrc file",
    ),
    _row(
        ("basicauth(", "digestauth(", "proxyauth("),
        PUNCTUATION,
        rf"(?P<start>(?:Basic|Digest|Proxy)Auth\(){_NEW}[^)\n]{{1,512}}+",
        "Requests docs, Authentication",
    ),
    _row(
        ("http -", "https -", "xh -"),
        PUNCTUATION,
        r"(?P<start>\b(?:https?|xh) [^\n|;]{0,64}?(?:-a|--auth)[ =]['\"]?+)(?!\[)[^\s\"':]{1,128}+:[^\s\"']{1,256}+",
        "HTTPie docs, Authentication",
    ),
    _row(
        ("pdo", "mysqli"),
        PUNCTUATION,
        r"(?P<start>(?:PDO|mysqli)(?:->__construct|::__construct|_connect)?\('[^']{0,256}+', '[^']{0,128}+', ')"
        rf"{_NEW}[^']{{1,256}}+",
        "PHP manual, PDO::__construct and mysqli_connect in stack traces",
    ),
    _row(
        ("jdbc:oracle",),
        PUNCTUATION,
        rf"(?P<start>jdbc:oracle:\w{{1,8}}+:){_NEW}[^\s@\"'\[]{{1,256}}+(?=@)",
        "Oracle Database JDBC Developer's Guide, Database URLs",
    ),
    _row(
        (" code",),
        PUNCTUATION,
        r"(?i)(?P<start>\b(?:verification|security|one-time|login|otp|pin|access|confirmation|2fa|mfa|authentication)"
        r" codes?(?: is| was|:)\s{1,4}+)\d{4,10}\b",
        "NIST SP 800-63B, 5.1.3 Out-of-band authenticators",
    ),
    _row(
        ("curl",),
        PUNCTUATION,
        rf"(?<![\w-])(?P<start>(?:-b|--cookie)[ =]{{0,4}}+['\"]){_NEW}[^\"'\n]{{1,1024}}+",
        "curl manual, --cookie",
    ),
    _row(
        ("code=", "code%3d"),
        PUNCTUATION,
        r"(?i)(?P<start>(?:[?&#]|%3F|%26)(?:code|device_code|auth_code)(?:=|%3D))(?!\[)"
        r"(?=[^\s&\"']{0,64}?\d)(?:[^\s&\"'<>%;]|%2[FfDdEe]){10,512}+",
        "RFC 6749, 4.1.2 Authorization response",
    ),
    _row(
        ("key=",),
        PUNCTUATION,
        r"(?im)(?P<start>(?:^|[?&])key=)(?!\[)(?=[\w-]{0,64}?\d)[\w-]{8,256}+(?![\w./%-])",
        "Google Cloud docs, Using API keys with REST",
    ),
    _row(
        ("response=",),
        PUNCTUATION,
        r"(?i)(?P<start>\bresponse=\\?\")(?!\[)[0-9a-z_-]{8,128}+",
        "RFC 7616, 3.4 Digest",
    ),
    _row(
        ("policy=",),
        PUNCTUATION,
        r"(?P<start>[?&]Policy=)(?!\[)[\w~-]{8,4096}+",
        "CloudFront docs, Signed URLs with a custom policy",
    ),
    _row(
        MARKERS,
        SEPARATORS,
        r"(?P<start>\bauth['\"]?\s?:\s?['\"])(?!\[)[^\s'\":]{1,128}+:[^\s'\"]{1,256}+",
        "Node docs, http.request: auth",
    ),
    _row(
        ("routing_key", "routingkey", "service_key", "servicekey"),
        PUNCTUATION,
        r"(?i)(?P<start>(?:routing|service)_?key\W{1,8})[0-9a-f]{32}\b",
        "PagerDuty docs, Events API",
    ),
    _row(
        ("bearer",),
        PUNCTUATION,
        rf"(?i)(?<![a-z])(?P<start>bearer{_GAP}[\"']?)(?!(?:tokens?|auth\w*|schemes?|headers?|realm|error|scope)\b)"
        r"(?P<value>[^\s\"',;<>\\)}\]]{2,8192}+)",
        "RFC 6750, 2.1 Authorization request header",
        _bearer,
    ),
    _row(
        ("basic",),
        PUNCTUATION,
        rf"(?i)(?<![a-z])(?P<start>basic{_GAP})(?P<value>[A-Za-z0-9+/_-]{{4,8192}}+={{0,2}}+)",
        "RFC 7617, 2 The Basic scheme",
        _basic,
    ),
    _row(
        ("eyj",),
        (),
        r"(?<![A-Za-z0-9])eyJ[\w-]{5,}+\.[\w-]{2,}+(?:\.[\w-]*+){0,3}+",
        "RFC 7519, RFC 7516 compact serialization",
        REDACTED,
    ),
    *(_row((marker,), (), pattern, source, REDACTED) for marker, pattern, source in KEY_PARTS),
)
"""The rows, in the order in which they are applied."""
