"""The command `forwarder schema`."""

from forwarder.cli.output import print_json
from forwarder.event.schema import schema as event_schema


def schema() -> None:
    """Print the JSON Schema of the event's detail.

    Example: forwarder schema > detail.schema.json
    """
    print_json(event_schema())
