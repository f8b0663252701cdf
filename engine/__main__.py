"""`python -m engine`: find or build the engine, and print the folder to put on PATH."""

import argparse
import signal
import sys
from types import FrameType

from .toolchain import EngineError, locate


def _stop(number: int, _: FrameType | None) -> None:
    # As an exception, so that a build that is told to stop takes its compiler and its half-built files with it.
    sys.exit(128 + number)


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m engine",
        description="Find the Pulumi engine: the installed one if it is recent enough, else the one built before, "
        "else build it (once per version, several minutes).",
        epilog="Prints the folder to put on PATH on standard output, and everything else on standard error.",
    ).parse_args()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        engine = locate()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"pulumi {engine.version} ({engine.origin}): {engine.pulumi}", file=sys.stderr)
    print(engine.bin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
