"""The estimation of a feed's failure rate from the times of its failures.

There are two estimates, and the larger one counts. The long one is the usual rate: the rate of executions, times the
expected share of them that fails. Both are decayed over hours, and the share has a prior; see
`forwarder.intake.failure_shares`. A burst that one poll finds counts there as one failure: ten failures in a minute say
less about the next hours than ten failures in ten hours. The short estimate detects bursts: failures decayed over
minutes, less what chance explains.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from forwarder.intake.failure_shares import SharePrior
from forwarder.model import FeedActivity

LONG_MEMORY_SECONDS = 6 * 3600.0
SHORT_MEMORY_SECONDS = 300.0
"""The times after which an observation counts 1/e of its first weight."""

MIN_OBSERVED_SECONDS = 60.0
"""The shortest time of observation that an estimate assumes. A feed that was just added has no meaningful rate yet."""


@dataclass(frozen=True, slots=True)
class FailureRate:
    """The two estimates of a feed, in failures a second."""

    usual: float
    burst: float

    @property
    def per_second(self) -> float:
        return max(self.usual, self.burst)


def observe(
    activity: FeedActivity | None, now: datetime, *, executions: int, failure_ages: Iterable[timedelta]
) -> FeedActivity:
    """Return the activity after a poll that found these new executions, and failures that stopped so long ago.

    The ages are those on the clock of the API, so that its difference to this machine's clock does not matter. An
    activity without new observations is returned unchanged: its counts decay when they are used. One from the future,
    before the clock was set back, is moved to `now`, because its counts would not decay until then.
    """
    ages = sorted((max(0.0, age.total_seconds()) for age in failure_ages), reverse=True)
    if activity is None:
        activity = FeedActivity(since=now, at=now)
    elif not executions and not ages and activity.at <= now:
        return activity
    elapsed = max(1.0, (now - activity.at).total_seconds()) / LONG_MEMORY_SECONDS
    activity = decayed(activity, now)
    return replace(
        activity,
        # The executions have no times here. They count as spread evenly over the time since the last observation.
        executions=activity.executions + executions * -math.expm1(-elapsed) / elapsed,
        failures=activity.failures + sum(math.exp(-age / LONG_MEMORY_SECONDS) for age in _first_of_bursts(ages)),
        burst=activity.burst + sum(math.exp(-age / SHORT_MEMORY_SECONDS) for age in ages),
    )


def _first_of_bursts(ages: Sequence[float]) -> list[float]:
    """Return the ages of the failures that no other precedes by SHORT_MEMORY_SECONDS or less. The oldest are first."""
    return [age for before, age in pairwise([math.inf, *ages]) if before - age > SHORT_MEMORY_SECONDS]


def decayed(activity: FeedActivity, now: datetime) -> FeedActivity:
    """Return the activity with its counts as they are at `now`. A clock that was set back does not raise them."""
    elapsed = max(0.0, (now - activity.at).total_seconds())
    long, short = math.exp(-elapsed / LONG_MEMORY_SECONDS), math.exp(-elapsed / SHORT_MEMORY_SECONDS)
    return FeedActivity(
        since=min(activity.since, now),
        at=now,
        executions=activity.executions * long,
        failures=activity.failures * long,
        burst=activity.burst * short,
    )


def estimate(activity: FeedActivity, now: datetime, prior: SharePrior) -> FailureRate:
    """Return the failure rate of a feed. `prior` is the distribution of the failure shares of all feeds."""
    current = decayed(activity, now)
    observed = max(MIN_OBSERVED_SECONDS, (now - current.since).total_seconds())
    long = LONG_MEMORY_SECONDS * -math.expm1(-observed / LONG_MEMORY_SECONDS)
    short = SHORT_MEMORY_SECONDS * -math.expm1(-observed / SHORT_MEMORY_SECONDS)
    executions = max(current.executions, current.failures)
    usual = prior.expected_share(current.failures, executions) * executions / long
    # The variance of a decayed count is half of its mean. One failure alone is no burst.
    burst = max(0.0, current.burst - 1 - math.sqrt(current.burst / 2)) / short
    return FailureRate(usual, burst)
