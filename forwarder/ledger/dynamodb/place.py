"""The ledger of a table, with the keys of the vault and the periods of the settings."""

import socket
from collections.abc import Callable
from datetime import datetime

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.dynamodb import dynamodb_client
from forwarder.errors import ForwarderError
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.table import Connect
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.sections import DestinationSettings
from forwarder.settings.validators.ledger_url import TableLocation
from forwarder.vault import Vault


def table_client(config_source: ConfigSource, settings: LocalSettings, location: TableLocation) -> Connect:
    """Return a client with the keys of the vault, or those of the ambient chain if there is no vault.

    Keys that DynamoDB refuses are read from the vault again: a rotation must not need a restart.
    """
    stored = StoredKeys.of(Vault.open(config_source, settings))
    destination = DestinationSettings(event_bus="default", region=location.region)

    def stored_keys() -> StoredKeys | None:
        try:
            return StoredKeys.of(Vault.open(config_source, settings)) or stored  # never replaced by ambient keys
        except ForwarderError:  # the vault cannot be opened for now: the next refusal reads it again
            return stored

    return lambda: dynamodb_client(
        Identity(destination, stored),
        region=location.region,
        endpoint_url=location.endpoint_url,
        stored_keys=stored_keys,
    )


def table_ledger(
    config_source: ConfigSource, settings: LocalSettings, location: TableLocation, now: Callable[[], datetime]
) -> DynamoLedger:
    """Return the ledger of a table with the keys of `table_client`, not yet open."""
    return DynamoLedger(
        location,
        table_client(config_source, settings, location),
        Retention(settings.ledger.id_retention, settings.ledger.payload_retention),
        heartbeat_seconds=settings.ledger.heartbeat_interval.total_seconds(),
        host=socket.gethostname(),
        now=now,
    )
