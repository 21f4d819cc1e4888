"""The table of vendors' documented key formats. Each has a marker and a source."""

import re
from collections.abc import Collection
from typing import NamedTuple

from forwarder.redaction.values import REDACTED

_GITHUB_DOCS = "GitHub docs, Supported secret scanning patterns"


class KeyFormat(NamedTuple):
    """A key format. Each key begins with `prefix`, at the start of a word."""

    prefix: str
    pattern: str
    source: str


def _prefix(prefix: str, source: str, *, least: int = 12, letters: str = r"[\w-]") -> KeyFormat:
    return KeyFormat(prefix, rf"{re.escape(prefix)}{letters}{{{least},512}}+", source)


KEY_FORMATS = (
    *(_prefix(f"gh{kind}_", "GitHub docs, About authentication to GitHub: token formats") for kind in "pousr"),
    _prefix("github_pat_", "GitHub docs, About authentication to GitHub: token formats"),
    *(
        _prefix(marker, "GitLab docs, Token overview: token prefixes", least=10, letters=r"[\w.-]")
        for marker in (
            "glpat-",
            "gldt-",
            "glrt-",
            "glptt-",
            "glcbt-",
            "glft-",
            "glsoat-",
            "gloas-",
            "glimt-",
            "glagent-",
        )
    ),
    *(
        _prefix(marker, "Slack docs, Token types", least=8)
        for marker in (
            "xoxb-",
            "xoxp-",
            "xoxa-",
            "xoxr-",
            "xoxs-",
            "xoxc-",
            "xoxd-",
            "xoxo-",
            "xoxe-",
            "xoxe.",
            "xapp-",
        )
    ),
    *(
        _prefix(marker, "Stripe docs, API keys; Webhook signatures", least=8)
        for marker in ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_")
    ),
    _prefix("AIza", "Google Cloud docs, Manage API keys", least=30),
    _prefix("GOCSPX-", _GITHUB_DOCS),
    _prefix("ya29.", "Google Identity docs, OAuth 2.0 access tokens", letters=r"[\w.-]"),
    _prefix("sk-ant-", "Anthropic docs, API keys"),
    _prefix("sk-proj-", "OpenAI docs, API keys"),
    _prefix("sk-svcacct-", "OpenAI docs, API keys"),
    _prefix("sk-", "OpenAI docs, API keys", least=20),
    *(_prefix(f"shp{kind}_", "Shopify changelog, API credential formats") for kind in ("at", "ss", "ca", "pa")),
    KeyFormat("SG.", r"SG\.[\w-]{10,64}+\.[\w-]{10,128}+", "SendGrid docs, API keys"),
    KeyFormat("SK", r"SK[0-9a-f]{32}(?!\w)", "Twilio docs, API keys: a string identifier starts with SK"),
    KeyFormat("key-", r"key-[0-9a-f]{32}(?!\w)", "Mailgun docs, API keys"),
    _prefix("npm_", "npm blog, new token format", least=30),
    _prefix("pypi-", "PyPI help, API tokens", least=16),
    _prefix("hf_", "Hugging Face docs, User access tokens", least=20),
    *(_prefix(f"do{kind}_v1_", "DigitalOcean docs, Token formats") for kind in "por"),
    KeyFormat("dapi", r"dapi[0-9a-f]{32}(?:-\d)?+", "Databricks docs, Personal access tokens; " + _GITHUB_DOCS),
    KeyFormat("pat-", r"pat-(?:na|eu|ap)\d-[0-9a-f-]{20,64}+", "HubSpot docs, Private apps"),
    _prefix("ntn_", "Notion changelog, token prefixes", least=20),
    _prefix("secret_", "Notion docs, Internal integrations", least=40, letters=r"[A-Za-z0-9]"),
    KeyFormat("pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{16,128}+", "Airtable docs, Personal access tokens"),
    _prefix("lin_api_", "Linear docs, API keys"),
    *(_prefix(marker, "Square docs, Access tokens", least=16) for marker in ("EAAA", "sq0atp-", "sq0csp-")),
    _prefix("EAA", "Meta docs, Access tokens", least=40),
    _prefix("ATATT3", "Atlassian docs, API tokens", letters=r"[\w=-]"),
    _prefix("ATCTT3", "Atlassian docs, Access tokens", letters=r"[\w=-]"),
    _prefix("sl.", "Dropbox docs, OAuth guide", least=40),
    *(_prefix(f"dp.{kind}.", "Doppler docs, Token formats") for kind in ("pt", "st", "ct", "sa", "scim", "audit")),
    *(_prefix(f"hv{kind}.", "Vault docs, Token prefixes") for kind in "sbr"),
    *(
        _prefix(marker, "Grafana docs, Service account and cloud tokens", letters=r"[\w=+/-]")
        for marker in ("glsa_", "glc_")
    ),
    *(_prefix(marker, "New Relic docs, API keys") for marker in ("NRAK-", "NRII-", "NRAA-", "NRJS-")),
    *(_prefix(marker, "Sentry docs, Auth tokens", letters=r"[\w=+/-]") for marker in ("sntrys_", "sntryu_")),
    _prefix("PMAK-", "Postman docs, API keys"),
    *(_prefix(marker, "Supabase docs, Access tokens and API keys") for marker in ("sbp_", "sb_secret_")),
    _prefix("nfp_", "Netlify docs, Personal access tokens", least=20),
    *(
        _prefix(marker, "Fly.io docs, Access tokens", letters=r"[\w=+/,-]", least=20)
        for marker in ("fo1_", "fm1_", "fm2_")
    ),
    _prefix("pul-", "Pulumi docs, Access tokens", least=30),
    KeyFormat("AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{8,64}+", "age specification, X25519 identities"),
    _prefix("rpa_", "RunPod docs, API keys", least=30),
    _prefix("gsk_", "Groq docs, API keys", least=20),
    _prefix("xai-", "xAI docs, API keys", least=30),
    _prefix("pplx-", "Perplexity docs, API keys", least=20),
    _prefix("r8_", "Replicate docs, API tokens", least=20),
    _prefix("dckr_pat_", "Docker docs, Access tokens"),
    _prefix("dckr_oat_", "Docker docs, Organization access tokens"),
    _prefix("figd_", "Figma docs, Personal access tokens", least=20),
    _prefix("xkeysib-", "Brevo docs, API keys"),
    _prefix("xsmtpsib-", "Brevo docs, SMTP keys"),
    _prefix("rubygems_", "RubyGems guides, API key scopes"),
    _prefix("CFPAT-", "Contentful docs, Personal access tokens"),
    _prefix("ops_eyJ", "1Password docs, Service accounts"),
    _prefix("tskey-", "Tailscale docs, Key prefixes"),
    _prefix("EZAK", "EasyPost docs, API keys", least=40),
    _prefix("lsv2_", "LangSmith docs, API keys", least=20),
    _prefix("phx_", "PostHog docs, Personal API keys", least=30),
    KeyFormat("AKIA", r"AKIA[A-Z0-9]{12,128}+", "AWS docs, IAM identifiers: unique id prefixes"),
    KeyFormat("ASIA", r"ASIA[A-Z0-9]{12,128}+", "AWS docs, IAM identifiers: unique id prefixes"),
)

KEY_PARTS = (
    ("-us", r"(?<!\w)[0-9a-f]{32}-us\d{1,2}(?!\w)", "Mailchimp docs, API keys and data centres"),
    (".atlasv1.", r"(?<!\w)[A-Za-z0-9]{8,32}\.atlasv1\.[\w=-]{20,256}+", "Terraform docs, API tokens"),
    ("8q~", r"(?<![A-Za-z0-9])[\w.~-]{3}8Q~[\w.~-]{20,64}+", "Microsoft docs, Client secret identification"),
    (":aa", r"(?<!\d)\d{6,12}:AA[\w-]{20,64}+", "Telegram docs, Bot API: authorizing your bot"),
)
"""Key formats with a constant part in the middle, which is the marker: marker, pattern, source."""


def _tree(words: Collection[str]) -> str:
    """Return a pattern that matches any of the words. It branches letter by letter, so that a mismatch fails early."""
    by_letter: dict[str, set[str]] = {}
    for word in words:
        if word:
            by_letter.setdefault(word[0], set()).add(word[1:])
    branches = [re.escape(letter) + _tree(rest) for letter, rest in sorted(by_letter.items())]
    if not branches:
        return ""
    ends = "?+" if "" in words else ""
    return f"(?:{'|'.join(branches)}){ends}"


def _starts() -> str:
    """Return a pattern that matches each prefix of KEY_FORMATS at the start of a word.

    The start of the word is checked after the first letter, because few words begin with such a letter.
    """
    by_letter: dict[str, set[str]] = {}
    for form in KEY_FORMATS:
        by_letter.setdefault(form.prefix[0], set()).add(form.prefix[1:])
    return "|".join(f"{letter}(?<![A-Za-z0-9]{letter}){_tree(rest)}" for letter, rest in sorted(by_letter.items()))


_DISCORD = r"[\w-]{23,27}\.[\w-]{6}\.[\w-]{27,64}+"
"""A user id in base64 (it begins with M, N or O), a time and a signature. Source: Discord docs, Authentication."""

_START = re.compile(f"{_starts()}|[MNO](?<![\\w.][MNO]){_DISCORD}")
_FORMATS = tuple(
    (form.prefix, re.compile(form.pattern)) for form in sorted(KEY_FORMATS, key=lambda form: -len(form.prefix))
)

_ANY_DISCORD = ("", re.compile(f"[MNO]{_DISCORD}"))

MIN_KEY_CHARACTERS = 13
"""The length of the shortest key. A text whose words are all shorter holds no key."""

_has_run = re.compile(rf"[\w.~+/=-]{{{MIN_KEY_CHARACTERS}}}").search


def may_hold_key(text: str) -> bool:
    """Return whether any word begins with the prefix of a vendor's key, and any word is as long as a key."""
    return _has_run(text) is not None and _START.search(text) is not None


def without_keys(text: str) -> str:
    """Redact each key in a format of `KEY_FORMATS`."""
    kept: list[str] = []
    done = 0
    for found in _START.finditer(text):
        at = found.start()
        if at < done:
            continue
        for prefix, pattern in (*_FORMATS, _ANY_DISCORD):
            if text.startswith(prefix, at) and (key := pattern.match(text, at)):
                kept += text[done:at], REDACTED
                done = key.end()
                break
    kept.append(text[done:])
    return "".join(kept)


_PATH = r"[^\s\"'<>?#\\,;)]"

WEBHOOKS = (
    ("hooks.slack.com", rf"(?i)(?P<start>hooks\.slack\.com/)(?!\[){_PATH}{{1,512}}+", "Slack docs, Incoming webhooks"),
    (
        "discord",
        rf"(?i)(?P<start>discord(?:app)?\.com/api/(?:v\d+/)?webhooks/)(?!\[){_PATH}{{1,512}}+",
        "Discord docs, Webhook",
    ),
    (
        "telegram.org",
        r"(?i)(?P<start>telegram\.org/(?:file/)?bot)(?!\[)[^\s\"'<>?#\\/]{1,256}+",
        "Telegram docs, Bot API",
    ),
    (
        "webhook.office.com",
        rf"(?i)(?P<start>webhook\.office\.com/)(?!\[){_PATH}{{1,512}}+",
        "Microsoft docs, Teams webhooks",
    ),
    (
        "outlook.office",
        rf"(?i)(?P<start>outlook\.office(?:365)?\.com/webhook/)(?!\[){_PATH}{{1,512}}+",
        "Microsoft docs, Teams",
    ),
    ("hooks.zapier.com", rf"(?i)(?P<start>hooks\.zapier\.com/)(?!\[){_PATH}{{1,512}}+", "Zapier docs, Webhooks"),
    ("make.com", rf"(?i)(?P<start>hook\.[\w.-]{{0,32}}make\.com/)(?!\[){_PATH}{{1,512}}+", "Make docs, Webhooks"),
    ("integromat.com", rf"(?i)(?P<start>hook\.integromat\.com/)(?!\[){_PATH}{{1,512}}+", "Make docs, Webhooks"),
    (
        "ifttt.com",
        rf"(?i)(?P<start>ifttt\.com/[^\s\"'<>]{{0,128}}?/key/)(?!\[){_PATH}{{1,512}}+",
        "IFTTT docs, Webhooks",
    ),
    ("/hooks/", r"(?P<start>/hooks/)(?!\[)[a-z0-9]{26}(?![\w])", "Mattermost docs, Incoming webhooks"),
    ("pipedream.net", r"(?i)(?P<start>://)(?!\[)[\w-]{1,64}(?=\.m\.pipedream\.net)", "Pipedream docs, HTTP triggers"),
    (
        "pagerduty.com",
        r"(?i)(?P<start>pagerduty\.com/integration/)(?!\[)[^\s\"'<>?#\\/]{1,128}+",
        "PagerDuty docs, Events API",
    ),
    (
        "chat.googleapis.com",
        r"(?i)(?P<start>chat\.googleapis\.com/[^\s\"'<>]{0,256}?key=)(?!\[)[^\s\"'<>&]{1,256}+",
        "Google Chat docs",
    ),
    ("rocket", rf"(?i)(?P<start>rocket[\w.-]{{0,64}}/hooks/)(?!\[){_PATH}{{1,512}}+", "Rocket.Chat docs, Integrations"),
    (
        "opsgenie.com",
        r"(?i)(?P<start>opsgenie\.com/[^\s\"'<>]{0,128}?apikey=)(?!\[)[^\s\"'<>&]{1,128}+",
        "Opsgenie docs, Heartbeats",
    ),
)
"""Addresses that are themselves secret: marker, pattern, source."""
