"""`python -m sandbox.provider`: the providers as a process of their own.

Prints one line, `aws:PORT,aws-native:PORT`, which is what the engine's PULUMI_DEBUG_PROVIDERS takes, once both serve.
Ends when standard input ends, so that it never outlives the one who started it, or on SIGTERM.
"""

import signal
import sys
from contextlib import suppress
from types import FrameType

from sandbox.provider.server import serve


def _stop(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, _stop)
    # Whoever started this may be gone already.
    with suppress(BrokenPipeError), serve() as ports:
        print(",".join(f"{package}:{port}" for package, port in ports.items()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
