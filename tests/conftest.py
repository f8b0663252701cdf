"""The recorded program, once per stack and session."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests import graph

# How fast a busy machine is, is no claim of any test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# What runs in the background of a shell is born without ears for Ctrl-C, and so is all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

STACKS = ("local", "dev", "prod")


@pytest.fixture(scope="session", autouse=True)
def _at_the_root() -> None:
    # The engine runs the program from its folder, and paths of assets are relative to it.
    os.chdir(graph.ROOT)


@pytest.fixture(scope="session")
def programs(_at_the_root: None) -> dict[str, graph.Graph]:
    """The whole program as deployed, by stack."""
    return {stack: graph.program(stack) for stack in STACKS}


@pytest.fixture(scope="session")
def previews(_at_the_root: None) -> dict[str, graph.Graph]:
    """The whole program as a first preview sees it, by stack."""
    return {stack: graph.program(stack, preview=True) for stack in STACKS}


@pytest.fixture(params=STACKS)
def program(request: pytest.FixtureRequest, programs: dict[str, graph.Graph]) -> graph.Graph:
    return programs[request.param]


@pytest.fixture(params=STACKS)
def preview(request: pytest.FixtureRequest, previews: dict[str, graph.Graph]) -> graph.Graph:
    return previews[request.param]
