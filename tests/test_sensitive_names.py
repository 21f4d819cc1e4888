"""The words of a name, and their order, decide whether the name announces a secret."""

import pytest

from forwarder.redaction.sensitive_names import secret_names


@pytest.mark.parametrize(
    "name",
    [
        *("x-myapi-key", "a_tenantsubscription_key", "stripe_key", "my.ssh.key", "apiKey2"),
        *("user_session_id", "old_access_key_id", "db_pass", "mysqlpass", "last_password"),
    ],
)
def test_name_of_a_secret_is_secret(name: str) -> None:
    assert secret_names()(name)


@pytest.mark.parametrize(
    "name",
    [
        *("key", "x-sort-key", "api_key_order_key", "primary-key", "public_api_key", "key_api"),
        *("execution_id", "key_id", "boarding_pass", "compass", "password_expires", "has_password", "input_tokens"),
    ],
)
def test_name_of_a_fact_is_not_secret(name: str) -> None:
    assert not secret_names()(name)
