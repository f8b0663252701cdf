"""How an IAM principal shows itself as the caller of a request.

API Gateway reports a role as one of its sessions, without the role's path
(`arn:aws:sts::111122223333:assumed-role/carrier/session-7` for `arn:aws:iam::111122223333:role/partners/carrier`).
"""

from __future__ import annotations

from typing import Any


def caller_of(principal_arn: str) -> str:
    """What `stable_caller` yields for every request of this IAM role or user."""
    *account, resource = principal_arn.split(":", 5)  # a path may hold colons
    kind, _, path = resource.partition("/")
    if kind != "role":
        return principal_arn
    session_of = f"assumed-role/{path.rpartition('/')[2]}"
    return ":".join([*("sts" if part == "iam" else part for part in account), session_of])


def stable_caller(user_arn: str) -> str:
    """The caller without its session, so that two sessions of a role are one caller."""
    match user_arn.split(":", 5)[-1].split("/"):
        case ["assumed-role", _, session] if session:
            return user_arn.removesuffix(f"/{session}")
        case _:
            return user_arn


def caller_pattern(principal_arn: str) -> list[Any]:
    """The event-pattern value that matches a `userArn` of this principal and of no other."""
    caller = caller_of(principal_arn)
    return [caller] if caller == principal_arn else [{"prefix": f"{caller}/"}]
