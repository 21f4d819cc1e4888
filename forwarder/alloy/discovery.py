"""Finding what there is to watch: every workflow of every user."""

from forwarder.alloy.client import LogsClient
from forwarder.model import Feed


async def discover(client: LogsClient) -> list[Feed]:
    """A feed for each user and workflow of theirs. Raises SourceError, rather than return some of them."""
    return [
        Feed(workflow_id, user_id)
        for user_id in await client.users()
        for workflow_id in await client.workflows(user_id)
    ]
