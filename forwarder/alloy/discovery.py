"""The discovery of feeds: every workflow of every user."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceRefused
from forwarder.model import Feed


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The feeds found, and the names of their workflows by id. Users after the first `max_users` are `skipped_users`.

    If `problem` is set, the workflows of some users could not be listed. Such users have the feeds of the discovery
    before.
    """

    feeds: list[Feed]
    problem: SourceError | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    skipped_users: int = 0


class Discovery:
    """The discovery of a client. It remembers the workflows of each user, so that a failed request hides no feed."""

    def __init__(self, client: LogsClient) -> None:
        self._client = client
        self._known_workflows: dict[str, dict[str, str]] = {}

    async def discover(self, max_users: int | None = None) -> DiscoveryResult:
        """Return all feeds, or those of the first users.

        Raise SourceError if the users cannot be listed, or if the key is refused.
        """
        problem: SourceError | None = None
        workflows: dict[str, dict[str, str]] = {}
        user_ids = await self._client.list_users()
        for user_id in user_ids[:max_users]:
            try:
                workflows[user_id] = await self._client.list_workflows(user_id)
            except SourceRefused:
                raise
            except SourceError as error:
                problem = error
                workflows[user_id] = self._known_workflows.get(user_id, {})
        self._known_workflows = workflows
        feeds = [Feed(workflow_id, user_id) for user_id, ids in workflows.items() for workflow_id in ids]
        names = {workflow_id: name for found in workflows.values() for workflow_id, name in found.items()}
        return DiscoveryResult(feeds, problem, names, len(user_ids) - len(workflows))
