"""A local cloud whose queues hold what these tests have put there, and the commands as a person runs them."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from ops.cli import app
from tests.sandbox.conftest import cloud

__all__ = ["cloud"]


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


def command(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def ops(cloud):
    """A command on the local cloud, with its answer as a document."""

    def run(*arguments):
        return command(*arguments, "--state", cloud.state, "--json")

    return run
