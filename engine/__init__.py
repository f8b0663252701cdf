"""Finds the Pulumi engine that runs this project, or builds it from the Go modules pinned here."""

from .toolchain import Engine, EngineError, locate

__all__ = ["Engine", "EngineError", "locate"]
