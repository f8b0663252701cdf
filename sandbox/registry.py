"""What is deployed on the local cloud, as the engine last said it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any


class Registry:
    """The deployed resources by type and id: inputs and outputs together, without the marks of secrets.

    `version` changes with every change, so that whoever derives something from the registry knows when to do it again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resources: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.version = 0

    def put(self, type_: str, id_: str, properties: Mapping[str, Any]) -> None:
        with self._lock:
            self._resources.setdefault(type_, {})[id_] = properties
            self.version += 1

    def remove(self, type_: str, id_: str) -> None:
        with self._lock:
            self._resources.get(type_, {}).pop(id_, None)
            self.version += 1

    def of(self, type_: str) -> dict[str, Mapping[str, Any]]:
        """The resources of one type, by id."""
        with self._lock:
            return dict(self._resources.get(type_, {}))
