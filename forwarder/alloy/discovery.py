"""Finding what there is to watch: every workflow of every user."""

from dataclasses import dataclass

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceRefused
from forwarder.model import Feed


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """`problem` is what kept it from being complete; then the feeds of some users are those of the time before."""

    feeds: list[Feed]
    problem: SourceError | None = None


class Discovery:
    """Remembers each user's workflows, so that one user who cannot be asked hides nobody else's, nor their own."""

    def __init__(self, client: LogsClient) -> None:
        self._client = client
        self._known_workflows: dict[str, list[str]] = {}

    async def discover(self) -> DiscoveryResult:
        """Raises SourceError where the users cannot be listed, or the key is refused."""
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
