"""The distribution of failure shares over the feeds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.intake.failure_shares import MEAN_SHARES, SharePrior
from forwarder.model import FeedActivity
from tests.virtual_clock import NOON


def activity(executions: float, failures: float) -> FeedActivity:
    return FeedActivity(NOON, NOON, executions, failures)


def fit(activities: list[FeedActivity], steps: int = 50) -> SharePrior:
    prior = SharePrior()
    for _ in range(steps):
        prior = prior.fitted(activities)
    return prior


def two_kinds(feeds: int = 500, executions: int = 100) -> list[FeedActivity]:
    """Return the activities of feeds of which one in ten fails in 10 % of its executions, the others in 0.25 %."""
    rng = random.Random(1)  # noqa: S311  # a sample needs no secrecy
    shares = [0.0025 if feed % 10 else 0.1 for feed in range(feeds)]
    return [activity(executions, sum(rng.random() < share for _ in range(executions))) for share in shares]


def test_share_without_failures_is_that_of_the_rare_kind() -> None:
    """The mean share of all feeds, 1.2 %, fits none of them."""
    prior = fit(two_kinds())
    assert prior.expected_share(0, 100) == pytest.approx(0.0022, rel=0.3)
    assert prior.expected_share(0, 10) < 0.012


def test_failures_of_a_feed_show_its_kind() -> None:
    prior = fit(two_kinds())
    assert prior.expected_share(3, 20) == pytest.approx(0.1, rel=0.2)
    assert prior.expected_share(10, 100) == pytest.approx(0.1, rel=0.2)


def test_share_of_similar_feeds_hardly_depends_on_their_counts() -> None:
    prior = fit([activity(20, failures) for failures in (0, 1, 2, 3)] * 100)
    assert prior.expected_share(0, 20) > 1.5 / 60
    assert prior.expected_share(3, 20) < 3 / 20


@pytest.mark.parametrize("share", [0.5, 0.03, 0.001])
def test_many_observations_overrule_the_prior(share: float) -> None:
    for prior in (SharePrior(), fit(two_kinds())):
        assert prior.expected_share(share * 100_000, 100_000) == pytest.approx(share, rel=0.05)


def test_feed_without_executions_does_not_change_the_prior() -> None:
    feeds = two_kinds(50)
    assert SharePrior().fitted([*feeds, activity(0, 0)]).weights == SharePrior().fitted(feeds).weights


def test_first_failures_overrule_a_prior_without_failures() -> None:
    prior = fit([activity(1000, 0)] * 500, steps=200)
    assert prior.expected_share(0, 1000) < 0.001
    assert prior.expected_share(20, 100) == pytest.approx(0.2, rel=0.25)


counts = st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)).map(lambda each: activity(max(each), min(each)))


@given(st.lists(counts, max_size=20))
def test_weights_stay_a_distribution(activities: list[FeedActivity]) -> None:
    weights = fit(activities, steps=3).weights
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > 0


@given(st.lists(counts, max_size=20), counts)
def test_expected_share_grows_with_the_failures_within_bounds(activities: list[FeedActivity], at: FeedActivity) -> None:
    prior = fit(activities, steps=3)
    fewer, more = (prior.expected_share(part * at.failures, at.executions) for part in (0.5, 1))
    assert 0 < fewer <= more * (1 + 1e-9)
    assert more <= max(MEAN_SHARES) * (1 + 1e-9)
