"""A carrier for stacks that have none: takes orders over HTTP, and confirms each at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import bounds
from components.carrier_integration import Credential
from components.function import Compute, Function, FunctionArgs
from components.orders_api import OrdersApi
from components.scope import Scope


@dataclass(frozen=True, kw_only=True)
class MockCarrierArgs:
    scope: Scope
    compute: Compute
    carrier: str
    api: OrdersApi
    credential: Credential

    def __post_init__(self) -> None:
        bounds.demand_carrier("MockCarrierArgs.carrier", self.carrier)


class MockCarrier(pulumi.ComponentResource):
    """Plays one carrier behind an open URL; for throwaway stacks only. Its role has to be among the API's `confirmers`.

    An API destination cannot sign its requests for IAM, so the URL takes anybody's, and the handler itself refuses
    whoever does not know the BASIC credential.
    """

    endpoint: pulumi.Output[str]
    function: Function

    def __init__(self, name: str, args: MockCarrierArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:MockCarrier", name, None, opts)
        child = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        function = self.function = Function(
            name,
            FunctionArgs(
                scope=args.scope,
                compute=args.compute,
                entry="mock_carrier",
                role=mock_carrier_role(args.carrier),
                environment={
                    # Enough to recognise the credential, not enough to use it elsewhere.
                    "CREDENTIAL_DIGEST": args.credential.secret.apply(
                        lambda secret: hashlib.sha256(f"{args.credential.name}:{secret}".encode()).hexdigest()
                    ),
                    "CONFIRM_URL": pulumi.Output.concat(args.api.url, "/confirm-shipment"),
                },
            ),
            pulumi.ResourceOptions(parent=self),
        )
        url = aws.lambda_.FunctionUrl(name, function_name=function.name, authorization_type="NONE", opts=child)
        # Since October 2025 an open URL needs both permissions.
        aws.lambda_.Permission(
            f"{name}-url",
            action="lambda:InvokeFunctionUrl",
            function=function.name,
            principal="*",
            function_url_auth_type="NONE",
            opts=child,
        )
        aws.lambda_.Permission(
            f"{name}-via-url",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="*",
            invoked_via_function_url=True,
            opts=child,
        )
        self.endpoint = url.function_url.apply(lambda address: address.rstrip("/"))
        self.register_outputs({"endpoint": self.endpoint})


def mock_carrier_role(carrier: str) -> str:
    """The role, within the stack, in which the mock of `carrier` confirms."""
    return f"carrier-{carrier}-mock"
