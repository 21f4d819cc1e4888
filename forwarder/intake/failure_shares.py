"""The distribution of failure shares over the feeds: the prior of the share of a feed that was seen rarely.

A few workflows fail often and most rarely, so the mean share of all feeds fits none of them. The prior is a mixture of
gamma distributions with fixed means, whose weights follow from the counts of all feeds. This is nonparametric empirical
Bayes estimation: H. Robbins, "An empirical Bayes approach to statistics" (1956), and N. Laird, "Nonparametric maximum
likelihood estimation of a mixing distribution" (1978).
"""

import math
from collections.abc import Iterable, Sequence

from forwarder.model import FeedActivity

MEAN_SHARES = tuple(4.0**-power for power in range(10))
"""The mean share of failed executions of each component."""

COMPONENT_FAILURES = 4.0
"""The shape of all components. A component weighs as much as this number of observed failures."""

MIN_COMPONENT_FEEDS = 0.1
"""The feeds that each component has without observations. No share is impossible, however few feeds have it."""

_COMPONENT_EXECUTIONS = tuple(COMPONENT_FAILURES / share for share in MEAN_SHARES)


class SharePrior:
    """A mixture of components. `weights` has the share of the feeds that belongs to each of them."""

    def __init__(self, weights: Sequence[float] = (1 / len(MEAN_SHARES),) * len(MEAN_SHARES)) -> None:
        self.weights = tuple(weights)
        self._logs = [
            math.log(weight) + COMPONENT_FAILURES * math.log(executions)
            for weight, executions in zip(weights, _COMPONENT_EXECUTIONS, strict=True)
        ]

    def expected_share(self, failures: float, executions: float) -> float:
        """Return the expected share of failures of a feed with these counts."""
        failures += COMPONENT_FAILURES
        probabilities = self._probabilities(failures, executions)
        return sum(
            probability * failures / (executions + prior)
            for probability, prior in zip(probabilities, _COMPONENT_EXECUTIONS, strict=True)
        )

    def fitted(self, activities: Iterable[FeedActivity]) -> "SharePrior":
        """Return the prior after one step of expectation-maximization with the counts of all feeds.

        A feed without executions has no effect.
        """
        feeds = [MIN_COMPONENT_FEEDS] * len(MEAN_SHARES)
        for each in activities:
            if executions := max(each.executions, each.failures):
                probabilities = self._probabilities(each.failures + COMPONENT_FAILURES, executions)
                feeds = [before + probability for before, probability in zip(feeds, probabilities, strict=True)]
        total = sum(feeds)
        return SharePrior([each / total for each in feeds])

    def _probabilities(self, failures: float, executions: float) -> list[float]:
        """Return the probability of each component for a feed. `failures` includes COMPONENT_FAILURES."""
        # The logarithms of negative binomial probabilities, without the factors that all components share.
        logs = [
            log - failures * math.log(executions + prior)
            for log, prior in zip(self._logs, _COMPONENT_EXECUTIONS, strict=True)
        ]
        largest = max(logs)
        likelihoods = [math.exp(each - largest) for each in logs]
        total = sum(likelihoods)
        return [each / total for each in likelihoods]
