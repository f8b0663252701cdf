"""The REST API: clients place and read orders through a function, carriers put confirmations straight onto the bus."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

import contracts
from components import bounds
from components.function import Compute, Function, FunctionArgs
from components.grants import ServiceRole, Statement, allow, document
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.scope import Scope

_STAGE = "v1"
# What an operator needs to find a request again: who, what, how it ended and in whose part. No headers, no bodies.
_ACCESS_LOG = {
    "requestId": "$context.requestId",
    "requestTime": "$context.requestTime",
    "caller": "$context.identity.userArn",
    "sourceIp": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "path": "$context.path",
    "status": "$context.status",
    "integrationStatus": "$context.integration.status",
    "latencyMs": "$context.responseLatency",
    "error": "$context.error.message",
}


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """Requests per second and burst that one route of the stage takes, over all callers."""

    rate: int
    burst: int

    def __post_init__(self) -> None:
        bounds.demand_number("Throttle.rate", self.rate, bounds.RATES)
        bounds.demand_number("Throttle.burst", self.burst, bounds.BURSTS)


@dataclass(frozen=True, kw_only=True)
class OrdersApiArgs:
    scope: Scope
    compute: Compute
    store: OrdersStore
    bus: OrdersBus
    clients: list[str]
    """ARNs of the IAM principals that may place orders and read their own."""
    carriers: list[str]
    """Names that an order may choose; the first is the default."""
    confirmers: list[str]
    """ARNs of the IAM principals that may confirm shipments."""
    throttle: Throttle
    manage_account: bool
    """Set the region's one API Gateway logging role; false where something else in the account owns it."""

    def __post_init__(self) -> None:
        bounds.demand_some("OrdersApiArgs.clients", self.clients)
        bounds.demand_some("OrdersApiArgs.carriers", self.carriers, bounds.MOST_CARRIERS)
        bounds.demand_some("OrdersApiArgs.confirmers", self.confirmers)
        for index, carrier in enumerate(self.carriers):
            bounds.demand_carrier(f"OrdersApiArgs.carriers[{index}]", carrier)


class OrdersApi(pulumi.ComponentResource):
    """Takes SigV4-signed requests of listed principals, and refuses everybody else, whatever their own policies say.

    A 201 means that the order is stored, a 202 that the confirmation is on the bus.
    """

    url: pulumi.Output[str]
    role: ServiceRole
    """The role in which API Gateway puts confirmations onto the bus."""
    known_name: str
    """Of the API, and of the function behind the routes of clients."""
    stage_name: str
    function: Function
    """The one behind the routes of clients, once it takes orders."""

    def __init__(self, name: str, args: OrdersApiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:OrdersApi", name, None, opts)
        scope = self._scope = args.scope
        self.known_name, self.stage_name = scope.name("orders-api"), _STAGE
        child = pulumi.ResourceOptions(parent=self)
        fixed_name = pulumi.ResourceOptions(parent=self, delete_before_replace=True)

        # No condition on the API: AWS documents none for this trust, and the grant below is narrow enough.
        self.role = ServiceRole(
            f"{name}-put-events",
            service="apigateway.amazonaws.com",
            physical_name=scope.name("orders-api-put-events"),
            known_arn=scope.role_arn("orders-api-put-events"),
            opts=child,
        )
        args.bus.grant_put(self.role, "emits-confirmations", only=contracts.ORDER_SHIPPED)

        body = json.dumps(
            contracts.openapi(
                title=self.known_name,
                region=scope.region,
                partition=scope.partition,
                bus_name=args.bus.known_name,
                orders_function_arn=scope.function_arn("orders-api"),
                put_events_role_arn=self.role.known_arn,
                carriers=args.carriers,
                resource_policy=_resource_policy(args.clients, args.confirmers),
            )
        )
        api = aws.apigateway.RestApi(
            name,
            name=self.known_name,
            body=body,
            endpoint_configuration={"types": "REGIONAL"},
            # The body is the whole truth: what it no longer holds is removed.
            put_rest_api_mode="overwrite",
            fail_on_warnings=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.role.grants]),
        )
        deployment = aws.apigateway.Deployment(
            name,
            rest_api=api.id,
            # A stage serves the API as it was when deployed: a new body is a new deployment.
            triggers={"body": hashlib.sha256(body.encode()).hexdigest()},
            opts=child,
        )
        access_log = aws.cloudwatch.LogGroup(
            name,
            name=f"/aws/apigateway/{scope.name('orders-api')}",
            retention_in_days=args.compute.log_retention_days,
            opts=fixed_name,
        )
        stage = aws.apigateway.Stage(
            name,
            rest_api=api.id,
            deployment=deployment.id,
            stage_name=_STAGE,
            xray_tracing_enabled=True,
            access_log_settings={"destination_arn": access_log.arn, "format": json.dumps(_ACCESS_LOG)},
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,
                depends_on=[self._account_logging(name)] if args.manage_account else [],
            ),
        )
        aws.apigateway.MethodSettings(
            name,
            rest_api=api.id,
            stage_name=stage.stage_name,
            method_path="*/*",
            settings={
                "throttling_rate_limit": args.throttle.rate,
                "throttling_burst_limit": args.throttle.burst,
                "logging_level": "ERROR",
                "data_trace_enabled": False,
                "metrics_enabled": True,
            },
            opts=child,
        )
        self._name, self._args, self._execution_arn = name, args, api.execution_arn
        self.url = stage.invoke_url
        self.register_outputs({"url": self.url})

    def take_orders(self, after: list[pulumi.Resource]) -> None:
        """Run the function behind the routes of clients, once `after` is there; until then they answer 500.

        An order for a carrier whose rule has no target yet would be an event that nobody keeps. So the function that
        offers the carriers comes last, and with it each change of what it offers.
        """
        args = self._args
        orders = self.function = Function(
            self._name,
            FunctionArgs(
                scope=args.scope,
                compute=args.compute,
                entry="orders_api",
                role="orders-api",
                environment={"TABLE_NAME": args.store.table_name, "CARRIERS": json.dumps(args.carriers)},
                after=tuple(after),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        args.store.grant_create(orders.role)
        args.store.grant_read(orders.role)
        for route in contracts.routes("orders"):
            orders.grant_invoke(
                f"{self._name}-{route.operation}",
                service="apigateway.amazonaws.com",
                source_arn=pulumi.Output.concat(self._execution_arn, f"/{_STAGE}/{route.method}{route.path}"),
            )

    def _account_logging(self, name: str) -> pulumi.Resource:
        role = ServiceRole(
            f"{name}-account-logs",
            service="apigateway.amazonaws.com",
            physical_name=self._scope.name("api-gateway-logs"),
            known_arn=self._scope.role_arn("api-gateway-logs"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # The role serves every API of the region, whose groups API Gateway names itself. The actions are those of the
        # managed policy AmazonAPIGatewayPushToCloudWatchLogs, as API Gateway tests the role before it takes it.
        role.may(
            "writes-api-logs",
            allow(
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
                "logs:FilterLogEvents",
                "logs:GetLogEvents",
                "logs:PutLogEvents",
                on=self._scope.arn("logs", "*"),
            ),
        )
        return aws.apigateway.Account(
            name,
            cloudwatch_role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*role.grants]),
        )


def _resource_policy(clients: list[str], confirmers: list[str]) -> dict[str, Any]:
    """Who may call which route. Within one account an identity's own Allow is enough, so the refusal is explicit."""
    return document(
        *_only("Clients", clients, contracts.routes("orders")),
        *_only("Carriers", confirmers, contracts.routes("put_events")),
    )


def _only(label: str, principals: list[str], routes: list[contracts.Route]) -> tuple[Statement, Statement]:
    resources = [f"execute-api:/{_STAGE}/{route.method}{route.path}" for route in routes]
    # A condition and not a Principal: API Gateway refuses a policy that names a role which does not exist (yet).
    return (
        {
            "Sid": f"{label}May",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "execute-api:Invoke",
            "Resource": resources,
            "Condition": {"StringEquals": {"aws:PrincipalArn": principals}},
        },
        {
            "Sid": f"Only{label}May",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "execute-api:Invoke",
            # API Gateway serves a path with a slash behind it as the same route; under which ARN, is not documented.
            "Resource": [*resources, *(f"{resource}/*" for resource in resources)],
            "Condition": {"StringNotEquals": {"aws:PrincipalArn": principals}},
        },
    )
