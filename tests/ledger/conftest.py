import pytest

pytest.register_assert_rewrite(
    "tests.ledger.contract", "tests.ledger.retention", "tests.ledger.queries", "tests.ledger.random_operations"
)
