"""The script that a developer writes in an hour: it sends every failure of every workflow to a bus, once.

python -m tests.benchmarks.baseline_simple API BUS FEEDS SEEN.json
"""

import json
import sys
from pathlib import Path

import boto3
import httpx

PAGE = 30
FAILED = {"error", "failed"}


def main(api: str, bus: str, feeds: int, known_ids: Path) -> None:
    seen = set(json.loads(known_ids.read_text())) if known_ids.exists() else set()
    source = httpx.Client(base_url=api, headers={"Authorization": "bearer KEY"})
    events = boto3.client(
        "events",
        region_name="eu-central-1",
        endpoint_url=bus,
        aws_access_key_id="AKIAPLANTED000000001",
        aws_secret_access_key="planted/secret+key/0001",  # for a sink that takes any
    )
    for workflow in (f"w-{number}" for number in range(feeds)):
        page = 0
        while True:
            answer = source.get(f"/2024-03/workflow/{workflow}/logs", params={"page": page, "limit": PAGE})
            answer.raise_for_status()
            executions = answer.json()["data"]
            if not executions:
                break
            for execution in executions:
                if execution["executionId"] in seen or not is_failed(execution):
                    continue
                put = events.put_events(
                    Entries=[
                        {
                            "Source": "alloy.embedded",
                            "DetailType": "Workflow Execution Failed",
                            "Detail": json.dumps({**execution, "workflowId": workflow}),
                            "EventBusName": "bench",
                        }
                    ]
                )
                if put["FailedEntryCount"]:
                    raise RuntimeError(put["Entries"])
                seen.add(execution["executionId"])
            known_ids.write_text(json.dumps(sorted(seen)))
            page += 1


def is_failed(execution: dict[str, object]) -> bool:
    results = execution.get("results")
    blocks = results if isinstance(results, list) else []
    return execution.get("status") in FAILED or "error" in execution or any(block.get("error") for block in blocks)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
