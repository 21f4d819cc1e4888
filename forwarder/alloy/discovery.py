"""The discovery of feeds: every workflow of every user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceRefused
from forwarder.model import Feed


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The feeds found, and the names of their workflows by id. Users after the first `max_users` are `skipped_users`.

    If `problem` is set, the workflows of `unlisted_users` could not be listed.
    """

    feeds: list[Feed]
    problem: SourceError | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    skipped_users: int = 0
    unlisted_users: frozenset[str] = frozenset()


async def discover(
    client: LogsClient, max_users: int | None = None, is_wanted: Callable[[str], bool] = lambda _: True
) -> DiscoveryResult:
    """Return all feeds, or those of the first users, of the users that are wanted.

    Raise SourceError if the users cannot be listed, or if the key is refused.
    """
    problem: SourceError | None = None
    workflows: dict[str, dict[str, str]] = {}
    unlisted = set()
    user_ids = [user_id for user_id in await client.list_users() if is_wanted(user_id)]
    for user_id in user_ids[:max_users]:
        try:
            workflows[user_id] = await client.list_workflows(user_id)
        except SourceRefused:
            raise
        except SourceError as error:
            problem = error
            unlisted.add(user_id)
    feeds = [Feed(workflow_id, user_id) for user_id, ids in workflows.items() for workflow_id in ids]
    names = {workflow_id: name for found in workflows.values() for workflow_id, name in found.items()}
    skipped = len(user_ids) - len(workflows) - len(unlisted)
    return DiscoveryResult(feeds, problem, names, skipped, frozenset(unlisted))
