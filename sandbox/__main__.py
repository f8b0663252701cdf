"""`python -m sandbox`: the program on the local providers."""

import argparse
import sys
from pathlib import Path

from engine import EngineError
from sandbox.provider import ProvidersError
from sandbox.stack import StackError, opened


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Run the program without a cloud account.")
    commands = parser.add_subparsers(dest="command", required=True)
    preview = commands.add_parser("preview", help="show what a deployment would change, and what the policies say")
    preview.add_argument("--stack", default="local", help="local (default), dev or prod")
    preview.add_argument("--state", type=Path, help="folder for the state (build/state/<stack>)")
    arguments, flags = parser.parse_known_args()
    try:
        with opened(arguments.stack, state=arguments.state, streams=True) as stack:
            return stack.preview(*flags).code
    except (EngineError, ProvidersError, StackError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
