import pytest

pytest.register_assert_rewrite("organism.testing.store_contract")
