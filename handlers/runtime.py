"""What every function takes from its runtime: settings from the environment, and a limit on calls to AWS."""

from __future__ import annotations

import os

from botocore.config import Config

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
