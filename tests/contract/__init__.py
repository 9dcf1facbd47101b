"""What every implementation of a seam promises."""

import pytest

pytest.register_assert_rewrite("tests.contract.bus_contract")
