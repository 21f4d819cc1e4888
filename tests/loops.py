"""Tests that are coroutines."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

LONGEST = 180
"""Seconds of one test: one that waits for what never comes fails, and does not hold up all others."""


def looped(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(within_the_deadline(test(*args, **kwargs)))

    async def within_the_deadline(testing: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(LONGEST):
            await testing

    return run


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition that the parts under test bring about; fail where it does not come."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  # what is waited for is at the other end of a socket
            await asyncio.sleep(0.001)
