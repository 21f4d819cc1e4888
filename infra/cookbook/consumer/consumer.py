"""A Lambda function that processes each deliberate send of a failure once. Replace `process` by your own code.

The event comes from a rule of EventBridge. Its type is a part of what `forwarder schema` prints. Unknown fields are
ignored, because the forwarder adds fields within version "1".
"""

import json
import os
from datetime import datetime
from typing import Literal
from urllib.request import Request, urlopen

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.parser import BaseModel, Field, event_parser
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext

KEY_EXPIRES_AFTER_SECONDS = 30 * 86_400
"""A key has to outlive the longest time between two deliveries: an outage, a redrive of a queue, a restored ledger."""

TICKETS_URL = os.environ["TICKETS_URL"]


class Cause(BaseModel):
    message: str
    code: str | None = None


class Error(BaseModel):
    message: str
    name: str | None = None
    code: str | None = None
    description: str | None = None
    cause: Cause | None = None
    block_id: str | None = Field(None, alias="blockId")


class Send(BaseModel):
    """The fields that the forwarder adds. A deliberate replay has a key of its own."""

    idempotency_key: str = Field(alias="idempotencyKey")
    observed_at: datetime = Field(alias="observedAt")
    replay: bool = False


class Failure(BaseModel):
    version: Literal["1"]
    execution_id: str = Field(alias="executionId")
    workflow_id: str = Field(alias="workflowId")
    user_id: str | None = Field(None, alias="userId")
    stopped_at: datetime | None = Field(alias="stoppedAt")
    error: Error
    forwarder: Send


class FailureEvent(EventBridgeModel):
    detail: Failure


# The key is read before the event is parsed. After an exception the record is deleted, and Lambda tries again.
@idempotent(
    config=IdempotencyConfig(
        event_key_jmespath="detail.forwarder.idempotencyKey",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=KEY_EXPIRES_AFTER_SECONDS,
    ),
    persistence_store=DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"]),
)
@event_parser(model=FailureEvent)
def handler(event: FailureEvent, context: LambdaContext) -> None:  # noqa: ARG001  # Lambda passes it
    process(event.detail)


def process(failure: Failure) -> None:
    """Open a ticket. The ticket system gets the key too, for the case that this function dies after the request."""
    ticket = {
        "title": f"Workflow {failure.workflow_id} failed: {failure.error.message}",
        "execution": failure.execution_id,
        "reason": failure.error.description,
        "replay": failure.forwarder.replay,
    }
    headers = {"Content-Type": "application/json", "Idempotency-Key": failure.forwarder.idempotency_key}
    request = Request(TICKETS_URL, json.dumps(ticket).encode(), headers)  # noqa: S310  # the address is the operator's
    with urlopen(request, timeout=10) as response:  # noqa: S310  # as above; a refusal raises HTTPError
        response.read()
