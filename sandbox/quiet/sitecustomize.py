"""Read by every Python that the engine starts: that the engine interrupts a program is no mistake of the program."""

import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # It does so as soon as a policy is violated; a traceback would bury what the policy says.
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
