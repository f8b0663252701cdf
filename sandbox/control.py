"""What the command line asks of a running local cloud, which nobody else may: every request brings a token."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.authority import Authority
from sandbox.iam import RoleSession, User
from sandbox.registry import Registry

MODES = ("ok", "500", "429", "slow", "drop", "duplicate", "reorder", "never-confirm", "wrong-credentials")


class Controlled(Protocol):
    authority: Authority
    registry: Registry
    modes: dict[str, str]


def control(cloud: Controlled, token: str) -> Starlette:
    """The ASGI application; `token` is the bearer token that lets a request in."""

    def guarded(answer: Callable[[dict[str, Any]], Response]) -> Callable[[Request], Any]:
        async def guard(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                return JSONResponse({"message": "not for you"}, 403)
            return answer(json.loads(await request.body() or b"{}"))

        return guard

    def credentials(wanted: dict[str, Any]) -> Response:
        """Credentials of a principal that the settings name."""
        arn: str = wanted["principal"]
        principal = RoleSession(role_arn=arn, session="local") if ":role/" in arn else User(arn=arn)
        issued = cloud.authority.issue(principal)
        return JSONResponse(
            {"access_key_id": issued.access_key_id, "secret": issued.secret, "token": issued.token or ""}
        )

    def decisions(_: dict[str, Any]) -> Response:
        """What was refused, and what was granted and never used."""
        return JSONResponse(
            {
                "denied": [entry._asdict() for entry in cloud.authority.denied()],
                "unused": [clause._asdict() for clause in cloud.authority.unused()],
            }
        )

    def mode(wanted: dict[str, Any]) -> Response:
        """What the mock carrier with a function's name does from now on."""
        if wanted["mode"] not in MODES:
            return JSONResponse({"message": f"there is no mode {wanted['mode']}"}, 400)
        cloud.modes[wanted["function"]] = wanted["mode"]
        return JSONResponse({})

    def resources(wanted: dict[str, Any]) -> Response:
        """The deployed resources of one type, without what may be secret."""
        names = wanted["properties"]
        found = cloud.registry.of(wanted["type"])
        return JSONResponse({id_: {name: known.get(name) for name in names} for id_, known in found.items()})

    routes = {"/credentials": credentials, "/decisions": decisions, "/mode": mode, "/resources": resources}
    return Starlette(routes=[Route(path, guarded(answer), methods=["POST"]) for path, answer in routes.items()])
