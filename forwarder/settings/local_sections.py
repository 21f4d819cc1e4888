"""The sections of the settings file that concern this machine. Many commands need no others."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from forwarder.settings.duration import Duration
from forwarder.settings.section import Interval, OptionalAddress, Section
from forwarder.settings.validators import ledger_url as ledger_validators
from forwarder.settings.validators import web as web_validators

Listen = Annotated[str, AfterValidator(web_validators.listen)]
Network = Annotated[str, AfterValidator(web_validators.network)]


class VaultSettings(Section):
    """The sealed secrets."""

    file: str = Field("forwarder.keys", min_length=1, description="file of the secrets, relative to this file")
    master_key_file: str = Field(
        "forwarder.master-key",
        description="file of the key that opens the secrets; empty: the key is the credential `forwarder-master-key`,"
        " or in `FORWARDER_MASTER_KEY_FILE` or `FORWARDER_MASTER_KEY`",
    )


class LedgerSettings(Section):
    """The executions recorded, pending and sent."""

    url: Annotated[str, AfterValidator(ledger_validators.ledger_url)] = Field(
        "sqlite:///forwarder.db",
        description="a file, relative to this one, or a table that processes share: `dynamodb://TABLE?region=…`",
    )
    heartbeat_interval: Interval = Field(
        timedelta(seconds=5), description="time between two heartbeats of a process on a shared ledger"
    )
    id_retention: Interval = Field(timedelta(days=90), description="how long an id is remembered")
    payload_retention: Duration = Field(timedelta(hours=24), description="how long the payload of a sent event is kept")


class WebSettings(Section):
    """The web UI, the health endpoints and the webhook."""

    listen: Listen = Field(
        "127.0.0.1:8787", description="address of the web server; empty: none; port 0: any that is free"
    )
    public_url: Annotated[OptionalAddress, AfterValidator(web_validators.origin)] = Field(
        "", description="address that people and Alloy use, if it is another one"
    )
    tls_cert: str = Field("", description="PEM file of the certificate and of those that signed it")
    tls_key: str = Field("", description="PEM file of the certificate's key")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="addresses or networks of proxies in front that add TLS and `X-Forwarded-For`"
    )
    health_listen: Listen = Field(
        "",
        description="a second address, of `/livez`, `/startupz`, `/readyz` and `/metrics` alone, that may be open to a"
        " network",
    )
    alloy_public_key: str = Field(
        "", description="PEM file of the key that Alloy signs with; then a webhook request must be signed"
    )

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.trusted_proxies and not self.public_url.startswith("https://"):
            raise ValueError("trusted_proxies need public_url: the https address of the proxy")
        if not (web_validators.is_loopback_only(self.listen) or self.tls_cert or self.trusted_proxies):
            raise ValueError(
                "listen is open to a network without TLS: set tls_cert and tls_key, or trusted_proxies and public_url,"
                " or listen on 127.0.0.1"
            )
        if web_validators.is_wildcard(self.listen) and not self.public_url:
            raise ValueError("listen is every address of this machine: set public_url to the address that browsers use")
        return self


class RunSettings(Section):
    """The process."""

    shutdown_grace: Duration = Field(timedelta(seconds=20), description="how long requests in flight may take to end")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="format of the log; `auto`: JSON, except on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
