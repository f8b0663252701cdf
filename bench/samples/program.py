"""Imports what our program imports, and loads of the providers' SDKs what it uses of them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import components

# pulumi_aws loads a module when something in it is asked for: a class of each is.
_USES = re.compile(r"\baws\.(\w+)\.([A-Z]\w*)")


def used() -> dict[str, str]:
    """The modules of pulumi_aws that our components use, each with the name of a class of it."""
    sources = Path(components.__file__).parent.glob("*.py")
    return {module: name for source in sources for module, name in _USES.findall(source.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    for name in ("exports", "settings"):
        importlib.import_module(f"components.{name}")
    for module, name in used().items():
        getattr(importlib.import_module(f"pulumi_aws.{module}"), name)
    _ = importlib.import_module("pulumi_aws_native.pipes").Pipe
