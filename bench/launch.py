"""Runs one program and writes down what it used: `RESULT PROGRAM ARGUMENT...`.

A process of its own, and a small one: Linux counts the memory of whoever starts a program as the program's.
"""

import json
import os
import sys

if __name__ == "__main__":
    result, *command = sys.argv[1:]
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, os.environ), 0)
    used = {"cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss / 1024}
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be most of this process
        json.dump({"code": os.waitstatus_to_exitcode(status), "used": used}, file)
