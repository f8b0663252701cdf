"""Where the providers' resources are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WorldError(RuntimeError):
    """A resource can't be made, changed or ended; the message is for the person who deploys."""


class World:
    """Nowhere: resources are what the engine records of them. Whoever makes them somewhere overrides both methods."""

    def put(
        self,
        type_: str,  # noqa: ARG002 - for those who override
        id_: str,  # noqa: ARG002
        properties: Mapping[str, Any],  # noqa: ARG002
        old: Mapping[str, Any] | None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Make a resource, or change the one with `old` properties; returns outputs that were decided there."""
        return {}

    def remove(self, type_: str, id_: str, properties: Mapping[str, Any]) -> None:
        """End a resource."""
