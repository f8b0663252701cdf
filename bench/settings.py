"""The tracked settings of the local stack, made larger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.measure import ROOT


def carriers(count: int, **settings: Any) -> list[dict[str, Any]]:
    """So many carriers that are played by mocks, as `event-gateway:carriers`; `settings` are for each."""
    return [
        {"name": f"carrier-{number}", "auth": "basic", "user": "event-gateway", **settings}
        for number in range(1, count + 1)
    ]


def written(file: Path, changes: dict[str, Any]) -> Path:
    """The settings with these changes, as a file that a stack is opened with."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text(encoding="utf-8"))
    document["config"] |= changes
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file
