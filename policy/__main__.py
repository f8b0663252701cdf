"""Where the engine starts the pack."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pulumi_policy import PolicyPack

# The modules import each other as `policy.<name>`, but a published pack runs from a directory of another name.
package = ModuleType("policy")
package.__path__ = [str(Path(__file__).resolve().parent)]
sys.modules["policy"] = package

policies = import_module("policy.pack").policies()
# What is loaded by now stays until the end: collecting what a resource left behind need not go over it each time.
gc.freeze()
PolicyPack("event-gateway", policies=policies)
