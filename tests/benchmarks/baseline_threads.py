"""The script that a careful developer writes in a day: known ids in SQLite, batches of ten, threads that publish.

python -m tests.benchmarks.baseline_threads API BUS FEEDS SEEN.db
"""

import json
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import boto3
import httpx
from botocore.config import Config

PAGE = 30
BATCH = 10
THREADS = 8
FAILED = {"error", "failed"}


def main(api: str, bus: str, feeds: int, known_ids: str) -> None:
    seen = sqlite3.connect(known_ids)
    seen.execute("PRAGMA journal_mode = WAL")
    seen.execute("PRAGMA synchronous = FULL")
    seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY)")
    source = httpx.Client(base_url=api, headers={"Authorization": "bearer KEY"})
    events = boto3.client(
        "events",
        region_name="eu-central-1",
        endpoint_url=bus,
        aws_access_key_id="AKIAPLANTED000000001",
        aws_secret_access_key="planted/secret+key/0001",  # for a sink that takes any
        config=Config(max_pool_connections=THREADS, retries={"total_max_attempts": 5, "mode": "standard"}),
    )
    with ThreadPoolExecutor(THREADS) as threads:
        for workflow in (f"w-{number}" for number in range(feeds)):
            for executions in pages(source, workflow):
                new = [each for each in executions if is_failed(each) and not is_seen(seen, each["executionId"])]
                batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
                sent: list[Future[None]] = [threads.submit(publish, events, workflow, batch) for batch in batches]
                for each in sent:
                    each.result()
                seen.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(each["executionId"],) for each in new])
                seen.commit()


def pages(source: httpx.Client, workflow: str) -> Iterator[list[dict[str, Any]]]:
    page = 0
    while True:
        answer = source.get(f"/2024-03/workflow/{workflow}/logs", params={"page": page, "limit": PAGE})
        answer.raise_for_status()
        executions: list[dict[str, Any]] = answer.json()["data"]
        if not executions:
            return
        yield executions
        page += 1


def is_failed(execution: dict[str, Any]) -> bool:
    if execution.get("status") in FAILED or execution.get("error"):
        return True
    return any(block.get("error") for block in execution.get("results") or ())


def is_seen(seen: sqlite3.Connection, execution_id: str) -> bool:
    return seen.execute("SELECT 1 FROM seen WHERE id = ?", (execution_id,)).fetchone() is not None


def publish(events: Any, workflow: str, batch: list[dict[str, Any]]) -> None:
    entries = [
        {
            "Source": "alloy.embedded",
            "DetailType": "Workflow Execution Failed",
            "Detail": json.dumps({**execution, "workflowId": workflow}),
            "EventBusName": "bench",
        }
        for execution in batch
    ]
    put = events.put_events(Entries=entries)
    if put["FailedEntryCount"]:
        raise RuntimeError([entry for entry in put["Entries"] if "ErrorCode" in entry])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
