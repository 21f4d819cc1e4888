import pytest

pytest.register_assert_rewrite(
    "tests.ledger.contract", "tests.ledger.forgetting", "tests.ledger.telling", "tests.ledger.walk"
)
