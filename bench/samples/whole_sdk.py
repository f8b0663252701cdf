"""Loads all of pulumi_aws, as a star import or a tool that looks into every module does."""

from __future__ import annotations

import importlib
import pkgutil

import pulumi_aws

if __name__ == "__main__":
    for found in pkgutil.iter_modules(pulumi_aws.__path__):
        # A lazy module is executed when anything in it is asked for.
        getattr(importlib.import_module(f"pulumi_aws.{found.name}"), "__all__", None)
