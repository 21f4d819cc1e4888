"""A secret planted anywhere in an execution is in no event, no log line, no ledger file and no output."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forwarder.demo.sample_data import execution
from forwarder.ledger.sqlite.payloads import decompress
from tests.e2e.harness import detail, fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.long


def plant(number: int) -> str:
    return f"pl4nted{number:03}Zq"


def token(number: int) -> str:
    """Return a JWT of valid base64url parts whose signature contains the mark."""
    head, claims = (
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"1"}')
    )
    return f"{head}.{claims}.{plant(number)}{'x' * 30}"


BY_NAME = [
    "authorization", "Authorization", "AUTHORIZATION", "proxy-authorization", "cookie", "Set-Cookie", "set_cookie",
    "token", "accessToken", "access_token", "refresh-token", "idToken", "postman-token", "x-csrf-token",
    "apiKey", "api_key", "X-Api-Key", "apikey", "privateKey", "private_key", "secretKey", "aws_secret_access_key",
    "password", "Password", "userPassword", "passwd", "passphrase", "secret", "clientSecret", "client_secret",
    "x-forwarded-for", "X-Forwarded-For", "x-real-ip", "x-amz-security-token", "session_token", "credentials",
]  # fmt: skip
BY_SHAPE = [
    "sent Authorization: Bearer {}",
    "bearer {}",
    "curl -H 'authorization: BEARER {}' https://x.example",
    "https://user:{}@shop.example/hook",
    "postgres://admin:{}@db.internal:5432/x",
    "https://x.example/a?api_key={}&page=1",
    "GET /hook?page=1&access_token={} HTTP/1.1",
    "https://x.example/?token={}#top",
    "https://x.example/?client_secret={}",
    "https://x.example/?PASSWORD={}",
]
AWS_IDS = ["AKIAPLANTEDKEY000123", "ASIAPLANTEDKEY000456"]


@dataclass
class PlantedSecrets:
    """The planted secrets by their place in the record, and the record."""

    marks: dict[str, str]
    record: dict[str, Any]


def plant_secrets(id_: str, moment: str) -> PlantedSecrets:
    marks: dict[str, str] = {}

    def mark(place: str) -> str:
        marks[place] = plant(len(marks))
        return marks[place]

    named: dict[str, Any] = {name: mark(f"name {name}") for name in BY_NAME}
    for kind, value in (("a list", [mark("a list")]), ("an object", {"a": {"b": mark("an object")}})):
        named[f"under {kind}"] = {"password": value}
    shaped = [text.format(mark(f"shape {text}")) for text in BY_SHAPE]
    shaped.append(f"jwt={token(len(marks))} in a text")
    marks["jwt"] = plant(len(marks))
    marks["basic"] = base64.b64encode(f"user:{plant(len(marks))}".encode()).decode()
    shaped.append(f"Authorization: Basic {marks['basic']}")
    marks |= {key: key for key in AWS_IDS}
    shaped += [f"key {key}, used" for key in AWS_IDS]
    where = {
        place: f"the header is Bearer {mark(place)}"
        for place in ("message", "stack", "name", "code", "block error", "block text", "status", "a name")
    }
    error = {name: where[name] for name in ("message", "stack", "name", "code")}
    blocks = [
        {"blockId": "b1", "data": [{"json": named, "meta": dict(named)}], "displayName": where["block text"]},
        {"blockId": "b2", "data": [[{"json": shaped, "id": "0"}]], "error": {"message": where["block error"]}},
        {"connectorId": "b3", "data": [{"json": json.dumps("https://u:" + mark("in JSON in a text") + "@x.example")}]},
        {"blockId": "b4", "data": {"deep": [[[{"x": [{"Cookie": mark("deep")}]}]]]}, where["a name"]: 1},
    ]
    record = {"executionId": id_, "startedAt": moment, "stoppedAt": moment, "status": where["status"]}
    return PlantedSecrets(
        marks, record | {"error": error, "results": blocks, "inputs": [{"blockId": "b1", "data": named}]}
    )


@dataclass
class RedactionRun:
    """All files, log lines and outputs of a program that sent one planted execution and dead-lettered another."""

    marks: dict[str, str]
    texts: dict[str, bytes]


def read_ledger_bytes(ledger: Path) -> bytes:
    """Return every value of every table, with payloads also decompressed."""
    found = []
    with closing(sqlite3.connect(ledger)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - names from the schema itself
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
                if table == "payloads":
                    found.append(decompress(*row) or b"")
    connection.close()
    return b"\n".join(found)


@pytest.fixture(scope="module")
def redaction_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedactionRun]:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("planted"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("run", log_level="debug")
        plants = plant_secrets("sent", alloy.api.now().isoformat())
        alloy.api.add("w", plants.record)
        alloy.api.add("w", plants.record | {"executionId": "dead"})
        bus.next(entry_codes({0: "MalformedDetail"}))
        with installation.start() as daemon:
            daemon.wait_until(lambda: len(bus.delivered) == 1)
            daemon.wait_for_log("event dead-lettered")
            files = {path.name: path.read_bytes() for path in installation.directory.glob("forwarder.db*")}
            assert daemon.stop() == 0
        (letter,) = installation.dead_letters()
        commands = {"once": ["once"], "status": ["status"], "status --json": ["status", "--json"]}
        commands |= {
            "dead list": ["dead-letters", "list"],
            "dead show": ["dead-letters", "show", str(letter["execution_id"])],
        }
        done = {name: installation.run_command(*words) for name, words in commands.items()}
        assert {command.code for command in done.values()} == {0}, done
        texts = {name: command.output.encode() for name, command in done.items()}
        texts |= {"log": daemon.log.encode(), "events": "".join(str(e.entry) for e in bus.delivered).encode()}
        files |= {f"{path.name}, at rest": path.read_bytes() for path in installation.directory.glob("forwarder.db*")}
        texts |= files | {"ledger": read_ledger_bytes(installation.directory / "forwarder.db")}
        yield RedactionRun(plants.marks, texts)


MARKS = plant_secrets("x", "")


@pytest.mark.parametrize("place", MARKS.marks)
def test_planted_secret_is_in_no_output(redaction_run: RedactionRun, place: str) -> None:
    mark = redaction_run.marks[place].encode()
    assert [name for name, text in redaction_run.texts.items() if mark in text] == []


def test_text_that_is_no_secret_is_sent(redaction_run: RedactionRun) -> None:
    """Without this test, an empty event would pass all the others."""
    for name in ("events", "dead show", "ledger"):
        for word in (b"shop.example/hook", b"page=1", b"[redacted]", b"used"):
            assert word in redaction_run.texts[name], (name, word)
    assert b"executionId" not in redaction_run.texts["forwarder.db, at rest"], "details are packed"


def test_configured_names_are_redacted(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("event", redact=["email", "Phone"])
    fail(alloy, "a")
    installation.run_command("once")
    text = json.dumps(detail(bus, "a"))
    assert "zoe@shop.example" not in text
    assert "5550100" not in text
    assert "Earl Grey" in text


def test_name_in_redact_except_is_not_redacted(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("event", redact_except=["x-forwarded-for"])
    fail(alloy, "a")
    installation.run_command("once")
    headers = detail(bus, "a")["results"][0]["data"][0][0]["json"]["headers"]
    assert headers["x-forwarded-for"] == "203.0.113.70"
    assert headers["x-real-ip"] == headers["authorization"] == "[redacted]"


def test_credentials_in_base_url_are_in_no_output(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", base_url=alloy.url.replace("://", f"://user:{plant(0)}@"))
    done = installation.run_command("once", "--timeout", "5s")
    assert (
        plant(0)
        not in done.output + installation.run_command("check").output + installation.run_command("status").output
    )


def test_secret_is_redacted_before_trimming(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A string that is cut in the middle of a token must not keep the first half of the token."""
    installation.change("destination", max_entry_bytes=16_384)
    text = "x" * 1015 + " Bearer " + plant(7) * 100
    started = alloy.api.now()
    record = execution("unfinished", id="a", started=started, payload={"text": text})
    alloy.api.add("w", record | {"error": {"message": text, "stack": text * 10}})
    installation.run_command("once")
    assert sent(bus) == ["a"]
    assert plant(7)[:6] not in json.dumps(detail(bus, "a"))
