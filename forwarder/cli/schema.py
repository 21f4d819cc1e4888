"""The command `forwarder schema`."""

from typing import Annotated

import typer

from forwarder.cli.output import print_json
from forwarder.event.health_event import health_schema
from forwarder.event.schema import schema as event_schema


def schema(
    *,
    health: Annotated[bool, typer.Option("--health", help="Print the schema of health events instead.")] = False,
) -> None:
    """Print the JSON Schema of the event's detail.

    Example: forwarder schema > detail.schema.json
    """
    print_json(health_schema() if health else event_schema())
