"""What the command line asks of a running local cloud, which nobody else may: every request brings a token."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.authority import Authority
from sandbox.clock import CloudClock
from sandbox.faults import Fault, FaultError, Faults, Kind
from sandbox.iam import RoleSession, User
from sandbox.registry import Registry

_FUNCTION = "aws:lambda/function:Function"
MODES = ("ok", "500", "429", "slow", "drop", "duplicate", "reorder", "never-confirm", "wrong-credentials")


class Controlled(Protocol):
    authority: Authority
    registry: Registry
    modes: dict[str, str]
    faults: Faults
    clock: CloudClock


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

    routes = {
        "/credentials": credentials,
        "/decisions": decisions,
        "/mode": mode,
        "/resources": resources,
        **_about_faults(cloud),
    }
    return Starlette(routes=[Route(path, guarded(answer), methods=["POST"]) for path, answer in routes.items()])


def _about_faults(cloud: Controlled) -> dict[str, Callable[[dict[str, Any]], Response]]:
    def inject(wanted: dict[str, Any]) -> Response:
        """A fault from now on; and a seed, if one comes with it."""
        seed = wanted.pop("seed", None)
        try:
            fault = Fault.of(wanted)
            if fault.function is not None:
                fault = replace(fault, function=_function_called(cloud.registry, fault.function))
        except FaultError as error:
            return JSONResponse({"message": str(error)}, 400)
        if seed is not None:
            cloud.faults.seed(seed)
        if fault.kind is Kind.CLOCK_JUMP and fault.seconds is not None:
            cloud.clock.forward(fault.seconds)
            cloud.faults.jumped(fault)
        else:
            cloud.faults.inject(fault)
        return JSONResponse({"seed": cloud.faults.report()["seed"]})

    def report(_: dict[str, Any]) -> Response:
        """What is active, and how often it struck."""
        return JSONResponse(cloud.faults.report())

    def clear(_: dict[str, Any]) -> Response:
        cloud.faults.clear()
        return JSONResponse({})

    return {"/fault": inject, "/faults": report, "/clear-faults": clear}


def _function_called(registry: Registry, name: str) -> str:
    """The deployed name of the function with this name, or of the only one whose name ends so."""
    deployed = sorted(known["name"] for known in registry.of(_FUNCTION).values())
    if name in deployed:
        return name
    meant = [full for full in deployed if full.endswith(f"-{name}")]
    if len(meant) != 1:
        which = "several functions are" if meant else "no function is"
        raise FaultError(f"{which} called {name}: name one of {', '.join(meant or deployed)}")
    return meant[0]
