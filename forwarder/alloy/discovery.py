"""The discovery of feeds: every workflow of every user."""

from dataclasses import dataclass

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceRefused
from forwarder.model import Feed


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The feeds found. If `problem` is set, the workflows of some users could not be listed.

    Such users have the feeds of the discovery before.
    """

    feeds: list[Feed]
    problem: SourceError | None = None


class Discovery:
    """The discovery of a client. It remembers the workflows of each user, so that a failed request hides no feed."""

    def __init__(self, client: LogsClient) -> None:
        self._client = client
        self._known_workflows: dict[str, list[str]] = {}

    async def discover(self) -> DiscoveryResult:
        """Return all feeds. Raise SourceError if the users cannot be listed, or if the key is refused."""
        problem: SourceError | None = None
        workflows: dict[str, list[str]] = {}
        for user_id in await self._client.list_users():
            try:
                workflows[user_id] = await self._client.list_workflows(user_id)
            except SourceRefused:
                raise
            except SourceError as error:
                problem = error
                workflows[user_id] = self._known_workflows.get(user_id, [])
        self._known_workflows = workflows
        feeds = [Feed(workflow_id, user_id) for user_id, ids in workflows.items() for workflow_id in ids]
        return DiscoveryResult(feeds, problem)
