"""Read by every Python that the engine starts: that the engine interrupts a program is no mistake of the program.

Nor has it to look for garbage all the time: it runs for seconds, and most of what it makes it keeps to its end. And the
state need not say for each resource which frames of asyncio the program was run in.
"""

import gc
import sys
import traceback
from types import FrameType, TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # It does so as soon as a policy is violated; a traceback would bury what the policy says.
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
# By default a fifth of a program's time is looking for cycles, to find next to none.
gc.set_threshold(70_000)

_extract_stack = traceback.extract_stack


def _innermost(f: FrameType | None = None, limit: int | None = 10) -> traceback.StackSummary:
    # The SDK asks for the stack at each resource, and the engine writes all of it each time that it writes the state,
    # of which it was a third. Six of these frames are the SDK's own; errors are shown with all of theirs.
    caller = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as traceback itself does
    return _extract_stack(f or caller, limit)


traceback.extract_stack = _innermost
