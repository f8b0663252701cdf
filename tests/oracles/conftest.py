"""The engines that others wrote, once per process of the tests."""

from __future__ import annotations

import pytest

from tests.oracles import engines


@pytest.fixture(scope="session")
def built():
    """The engines as programs, where this machine can have them."""
    try:
        return engines.build()
    except engines.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def oracle(built):
    """The running engines."""
    with engines.Oracle(built) as running:
        yield running
