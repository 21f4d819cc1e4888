"""Many requests whose keys are refused together read the sources of new keys once."""

import asyncio
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forwarder.aws.credentials import Identity
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.dynamodb import dynamodb_client
from forwarder.aws.eventbridge import EventBridgeBus, NotOwned
from forwarder.errors import DestinationRefused, LedgerUnavailable
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.settings.sections import DestinationSettings
from forwarder.settings.validators.ledger_url import TableLocation
from tests.aws import harness
from tests.aws.dynamodb_server import table_that_accepts
from tests.fakes.eventbridge import StrictEventBridge
from tests.virtual_clock import QuickClock

OLD, NEW = "AKIAPLANTEDOLD000000", "AKIAPLANTEDNEW000000"

REQUESTS = 20

PROGRAM = """#!/bin/sh
echo run >> {folder}/runs
sleep 0.3
printf '{{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "pl4nted"}}' "$(cat {folder}/key)"
"""


class CredentialProgram:
    """A `credential_process` that prints the key in a file, and counts how often it is started."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        (program := folder / "keys.sh").write_text(PROGRAM.format(folder=folder))
        program.chmod(stat.S_IRWXU)
        (folder / "config").write_text(f"[default]\ncredential_process = {program}\n")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        self.set_key(OLD)

    def set_key(self, key_id: str) -> None:
        (self._folder / "key").write_text(key_id)

    @property
    def runs(self) -> int:
        file = self._folder / "runs"
        return file.read_text().count("run") if file.exists() else 0


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CredentialProgram:
    return CredentialProgram(tmp_path, monkeypatch)


def identity() -> Identity:
    return Identity(DestinationSettings(event_bus="default", region="eu-west-1"))


@asynccontextmanager
async def open_table(accepted: Collection[str]) -> AsyncIterator[Table]:
    async with table_that_accepts(accepted, "ExpiredTokenException") as url:
        table = Table(TableLocation("ledger", "eu-west-1"), lambda: dynamodb_client(identity(), endpoint_url=url))
        try:
            yield table
        finally:
            await table.close()


async def test_requests_that_need_the_first_keys_start_one_program(program: CredentialProgram) -> None:
    keys = CurrentKeys(identity(), 10)
    found = await asyncio.gather(*(keys.find() for _ in range(REQUESTS)))
    assert {each.access_key for each in found} == {OLD}
    assert program.runs == 1


async def test_failed_load_fails_all_requests_and_is_tried_again(program: CredentialProgram) -> None:
    keys = CurrentKeys(identity(), 10)
    program.set_key("not a key")
    errors = await asyncio.gather(*(keys.find() for _ in range(REQUESTS)), return_exceptions=True)
    assert {type(each) for each in errors} == {DestinationRefused}
    program.set_key(NEW)
    assert (await keys.find()).access_key == NEW
    assert program.runs == 2


async def test_program_ends_with_its_last_waiting_request(program: CredentialProgram) -> None:
    keys = CurrentKeys(identity(), 10)
    first, second = asyncio.create_task(keys.find()), asyncio.create_task(keys.find())
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second).access_key == OLD
    assert program.runs == 1


async def test_refused_requests_of_a_table_read_new_keys_once(program: CredentialProgram) -> None:
    """Each refusal of an ended key would discard the keys that were read after the refusal before it."""
    accepted = {OLD}
    async with open_table(accepted) as table:
        assert await table.get(Key("x", "a")) is None
        accepted.symmetric_difference_update({OLD, NEW})
        program.set_key(NEW)
        requests = [table.get(Key("x", str(number))) for number in range(REQUESTS)]
        assert await asyncio.gather(*requests) == [None] * REQUESTS
    assert program.runs == 2


async def test_keys_that_stay_ended_are_read_twice(program: CredentialProgram) -> None:
    async with open_table({NEW}) as table:
        with pytest.raises(LedgerUnavailable, match="refuses the keys"):
            await table.get(Key("x", "a"))
    assert program.runs == 2


async def test_entries_taken_over_while_keys_are_awaited_are_not_sent(
    program: CredentialProgram, bridge: StrictEventBridge
) -> None:
    async with EventBridgeBus(harness.identity(bridge, key=None), QuickClock()) as bus:
        with pytest.raises(NotOwned):
            await bus.publish(harness.events(), is_owned=lambda: program.runs == 0)
    assert harness.served(bridge) == []


async def test_entries_taken_over_before_renewed_keys_are_not_sent(
    program: CredentialProgram, bridge: StrictEventBridge
) -> None:
    def is_owned() -> bool:
        is_first = program.runs == 1
        program.set_key(NEW)
        return is_first

    async with EventBridgeBus(harness.identity(bridge, key=None), QuickClock()) as bus:
        with pytest.raises(NotOwned):
            await bus.publish(harness.events(), is_owned=is_owned)
    assert program.runs == 2
    assert len(harness.served(bridge)) == 1, "the refused one"
    assert not bridge.delivered
