"""Helpers for tests that are coroutines: a deadline for each, and waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

MAX_TEST_SECONDS = 180
"""A test that waits for something that never comes fails, and does not hold up the others."""

MAX_WAIT_SECONDS = 20


def with_deadline(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Return the test with a limit on its duration."""

    @wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async with asyncio.timeout(MAX_TEST_SECONDS):
            await test(*args, **kwargs)

    return run


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition that the parts under test bring about. Raise TimeoutError if it does not come."""
    async with asyncio.timeout(MAX_WAIT_SECONDS):
        while not true():  # noqa: ASYNC110  # the condition depends on a socket's other end
            await asyncio.sleep(0.001)
