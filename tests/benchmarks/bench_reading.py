"""Reading: from the bytes of a page to its failed executions, compared with json.loads of the same bytes.

One execution in fifty failed. The memory is the maximum in addition to the page's own bytes.
"""

import json
import time
import tracemalloc
from collections.abc import Callable

from forwarder.alloy.decode import decode_page
from forwarder.demo.sample_data import Variant
from forwarder.intake.classify import Classifier
from forwarder.model import Classification, Execution
from tests.benchmarks.bench import Bench
from tests.benchmarks.comparison import Turn
from tests.benchmarks.pages import page
from tests.factories import some_settings

GOALS = (2,)

FAILURE_INTERVAL = 50
PAGES: tuple[tuple[int, int], ...] = ((1000, 2048), (1000, 20_480), (30, 2048))
VARIANTS: tuple[Variant, ...] = ("product-page", "2024-03")


def run(bench: Bench) -> None:
    for variant in VARIANTS:
        for records, size in PAGES:
            body = page(records, size=size, failing=FAILURE_INTERVAL, variant=variant)
            contestants: dict[str, Turn] = {
                "json.loads": megabytes(json.loads, body),
                "forwarder": megabytes(select_failures, body),
                "of which decoding": megabytes(decode_page, body),
            }
            what = f"{records} x {size // 1024} KB, {variant}"
            result = bench.compare(f"reading, {what}", "MB/s", contestants)
            bench.goal(2, what, result.ratio("forwarder", "json.loads"), at_least=12)
            bench.goal(2, f"memory, {what}", memory_of(body) / len(body), unit="of its bytes", at_most=1)


def select_failures(body: bytes) -> list[Execution]:
    """Select the failures as a poll does: skip obvious successes, and classify the other executions."""
    executions = CLASSIFIER.skip_obvious_successes(decode_page(body).executions)
    return [execution for execution in executions if CLASSIFIER.classify(execution) is Classification.FAILED]


CLASSIFIER = Classifier.from_settings(some_settings().source)


def megabytes(read: Callable[[bytes], object], body: bytes) -> Turn:
    def turn(seconds: float) -> float:
        done = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            read(body)
            done += len(body)
        return done / 1e6 / (time.perf_counter() - began)

    return turn


def memory_of(body: bytes) -> int:
    """Return the maximum memory of reading a page, in bytes."""
    select_failures(body)
    tracemalloc.start()
    select_failures(body)
    _, worst = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return worst
