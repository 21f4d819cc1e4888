"""Events that EventBridge accepts, and that its targets would refuse."""

from __future__ import annotations

import json

from tests.e2e.harness import detail, fail
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation


def is_refused_by_sqs(text: str) -> bool:
    """Return whether SQS refuses a message: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html."""
    return any(
        not (char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000")
        for char in text
    )


def test_characters_that_sqs_refuses_are_replaced(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Texts of PDF documents contain U+FFFF. The queue of the rule would refuse the event, and its dead letters too."""
    fail(
        alloy, "a", payload={"text": "page \uffff 1 \ufffe \ufffd \x00\x0b \x7f \U0001f4a5 \U0001ffff", "ke\uffffy": 1}
    )
    done = installation.run_command("once")
    assert done.code == 0, done.output
    sent = json.dumps(detail(bus, "a"), ensure_ascii=False)
    assert "page \ufffd 1 \ufffd \ufffd" in sent
    assert "\U0001f4a5 \U0001ffff" in sent
    assert not is_refused_by_sqs(sent)
