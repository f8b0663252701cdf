"""`python -m sandbox`: the program on this machine, previewed or run, without a cloud account."""

import signal


def main() -> None:
    # Until everything is imported there is nothing to wind up, and a traceback would tell nobody anything.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sandbox.cli import app  # noqa: PLC0415 - the import that this is about

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
