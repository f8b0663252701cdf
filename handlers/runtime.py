"""What every function takes from its runtime: settings from the environment, and clients of AWS with a limit."""

from __future__ import annotations

import functools
import os
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.session import Session

# At most 3 attempts of 1 s to connect and 1 s to answer, with pauses of at most 1 s and 2 s between them: 9 s, inside
# the functions' timeout of 10 s, so that a stuck call ends as an error of ours and not as a function that vanishes.
BOUNDED = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 3})


def setting(name: str) -> str:
    """A required environment variable.

    Raises:
        RuntimeError: It is missing or empty; the message names it.

    """
    if value := os.environ.get(name):
        return value
    raise RuntimeError(f"the environment variable {name} is not set")


@functools.cache
def aws_session() -> Session:
    """The credentials and the region of this function.

    botocore's and not boto3's, which adds nothing to a client but a tenth of the time that a cold start takes to it.
    """
    return botocore.session.get_session()


def aws_client(service: str) -> Any:
    """A client whose calls end while the function still can say so; making one is a tenth of a cold start."""
    return aws_session().create_client(service, config=BOUNDED)
