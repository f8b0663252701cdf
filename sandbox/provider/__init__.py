"""Pulumi providers for `aws` and `aws-native` that need no account, for the engine to attach to.

The engine sends them exactly what it would send to AWS's. They check it as AWS would, know what replaces a resource,
and keep what they were given. What they do not know is an error that names it.
"""

from sandbox.provider.process import Providers, ProvidersError

__all__ = ["Providers", "ProvidersError"]
