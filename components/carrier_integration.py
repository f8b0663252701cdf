"""One carrier: its orders go out as HTTP requests, its confirmations come back as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

import contracts
from components import bounds
from components.function import Compute, Function, FunctionArgs
from components.grants import ServiceRole, allow
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.queue import DeadLetterQueue, DeadLetterQueueArgs
from components.scope import Scope

# EventBridge's own maxima: a day, in 185 tries. What fails for longer waits in the dead-letter queue for a person.
_RETRY: aws.cloudwatch.EventTargetRetryPolicyArgsDict = {
    "maximum_event_age_in_seconds": 24 * 3600,
    "maximum_retry_attempts": 185,
}


@dataclass(frozen=True, kw_only=True)
class Credential:
    """How EventBridge proves itself to the carrier; `name` is the user of `basic`, the header of `apiKey`."""

    type: Literal["basic", "apiKey"]
    name: str
    secret: pulumi.Output[str]

    def __post_init__(self) -> None:
        bounds.demand_choice("Credential.type", self.type, ("basic", "apiKey"))


@dataclass(frozen=True, kw_only=True)
class CarrierIntegrationArgs:
    scope: Scope
    compute: Compute
    store: OrdersStore
    bus: OrdersBus
    carrier: str
    endpoint: pulumi.Input[str]
    """Base URL; orders go to `{endpoint}/orders`."""
    rate_limit: int
    """Requests per second, 1 to 300. What exceeds it waits, and is dead-lettered after a day."""
    credential: Credential
    principal_arn: str
    """The IAM role or user in which the carrier confirms."""
    enabled: bool
    """False stops sending; confirmations of what was sent are still taken."""
    protect: bool

    def __post_init__(self) -> None:
        bounds.demand_carrier("CarrierIntegrationArgs.carrier", self.carrier)
        bounds.demand_number("CarrierIntegrationArgs.rate_limit", self.rate_limit, bounds.RATE_LIMITS)


class CarrierIntegration(pulumi.ComponentResource):
    """Tells one carrier of each of its orders at least once, and ships an order once that carrier confirmed it.

    What can't be delivered or applied lies in one of three queues, each admitting one sender: `dead_letters` (orders
    the carrier did not take), `undelivered` (confirmations the function could not be handed) and `failures`
    (confirmations it could not apply, with the reason).
    """

    carrier: str
    orders_rule: str
    """The name of the rule that sends orders out."""
    confirm_rule: str
    """The name of the rule that takes confirmations in."""
    confirm: Function
    dead_letters: DeadLetterQueue
    undelivered: DeadLetterQueue
    failures: DeadLetterQueue
    delivery: pulumi.Resource
    """The last part of the way out: from it on, orders for this carrier reach it or its queue."""
    dead_letters_url: pulumi.Output[str]
    undelivered_url: pulumi.Output[str]
    failures_url: pulumi.Output[str]

    def __init__(self, name: str, args: CarrierIntegrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:CarrierIntegration", name, None, opts)
        self._name, self._args, self.carrier = name, args, args.carrier
        self._send_orders()
        self._take_confirmations()
        self.register_outputs(
            {
                "dead_letters_url": self.dead_letters_url,
                "undelivered_url": self.undelivered_url,
                "failures_url": self.failures_url,
            }
        )

    def _send_orders(self) -> None:
        args, scope, role_name = self._args, self._args.scope, f"carrier-{self._args.carrier}-orders"
        fixed_name = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        name, known_rule_arn = f"{self._name}-orders", scope.rule_arn("orders", role_name)
        self.orders_rule = scope.name(role_name)
        connection = aws.cloudwatch.EventConnection(
            name,
            name=scope.name(role_name),
            authorization_type="BASIC" if args.credential.type == "basic" else "API_KEY",
            auth_parameters=_auth_parameters(args.credential),
            opts=fixed_name,
        )
        destination = aws.cloudwatch.EventApiDestination(
            name,
            name=scope.name(role_name),
            connection_arn=connection.arn,
            invocation_endpoint=pulumi.Output.concat(args.endpoint, "/orders"),
            http_method="POST",
            invocation_rate_limit_per_second=args.rate_limit,
            opts=fixed_name,
        )
        rule = aws.cloudwatch.EventRule(
            name,
            name=self.orders_rule,
            description=f"New orders for {args.carrier}",
            event_bus_name=args.bus.name,
            event_pattern=contracts.carrier_orders_pattern(account=scope.account, carrier=args.carrier),
            state="ENABLED" if args.enabled else "DISABLED",
            opts=fixed_name,
        )
        role = ServiceRole(
            name,
            service="events.amazonaws.com",
            physical_name=scope.name(role_name),
            known_arn=scope.role_arn(role_name),
            when={
                "StringEquals": {"aws:SourceAccount": scope.account},
                "ArnEquals": {"aws:SourceArn": known_rule_arn},
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        # An API destination's ARN ends in an id that AWS chooses; its name is ours.
        role.may(
            "calls-the-carrier",
            allow("events:InvokeApiDestination", on=scope.arn("events", f"api-destination/{scope.name(role_name)}/*")),
        )
        dead_letters = self.dead_letters = self._queue("dead-letters", sender=known_rule_arn)
        paths, template = contracts.carrier_request()
        self.delivery = aws.cloudwatch.EventTarget(
            name,
            target_id="carrier",
            rule=rule.name,
            event_bus_name=args.bus.name,
            arn=destination.arn,
            role_arn=role.arn,
            input_transformer={"input_paths": paths, "input_template": template},
            # Delivery is at least once: the carrier tells a repetition by this header.
            http_target={"header_parameters": {"Idempotency-Key": "$.detail.order.id"}},
            retry_policy=_RETRY,
            dead_letter_config={"arn": dead_letters.arn},
            opts=pulumi.ResourceOptions(
                parent=self, delete_before_replace=True, depends_on=[*role.grants, dead_letters.policy]
            ),
        )
        self.dead_letters_url = dead_letters.url

    def _take_confirmations(self) -> None:
        args, scope, role_name = self._args, self._args.scope, f"carrier-{self._args.carrier}-confirm"
        fixed_name = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        name, known_rule_arn = f"{self._name}-confirm", scope.rule_arn("orders", role_name)
        self.confirm_rule = scope.name(role_name)
        failures = self.failures = self._queue("failures", sender=scope.role_arn(role_name))
        undelivered = self.undelivered = self._queue("undelivered", sender=known_rule_arn)
        confirm = self.confirm = Function(
            name,
            FunctionArgs(
                scope=scope,
                compute=args.compute,
                entry="confirm_shipment",
                role=role_name,
                environment={
                    "TABLE_NAME": args.store.table_name,
                    "CARRIER": args.carrier,
                    "CARRIER_PRINCIPAL": args.principal_arn,
                    "FAILURE_QUEUE_URL": failures.url,
                },
            ),
            pulumi.ResourceOptions(parent=self),
        )
        args.store.grant_ship(confirm.role)
        invoke_config = confirm.send_failures_to(failures)
        rule = aws.cloudwatch.EventRule(
            name,
            name=self.confirm_rule,
            description=f"Confirmations by {args.carrier}",
            event_bus_name=args.bus.name,
            event_pattern=contracts.carrier_confirmations_pattern(
                account=scope.account, principal_arn=args.principal_arn
            ),
            opts=fixed_name,
        )
        permission = confirm.grant_invoke(name, service="events.amazonaws.com", source_arn=rule.arn)
        aws.cloudwatch.EventTarget(
            name,
            target_id="confirm",
            rule=rule.name,
            event_bus_name=args.bus.name,
            arn=confirm.arn,
            retry_policy=_RETRY,
            dead_letter_config={"arn": undelivered.arn},
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,
                depends_on=[permission, invoke_config, undelivered.policy, *confirm.role.grants],
            ),
        )
        self.undelivered_url, self.failures_url = undelivered.url, failures.url

    def _queue(self, role: str, *, sender: str) -> DeadLetterQueue:
        return DeadLetterQueue(
            f"{self._name}-{role}",
            DeadLetterQueueArgs(
                scope=self._args.scope,
                role=f"carrier-{self._args.carrier}-{role}",
                sender=sender,
                protect=self._args.protect,
            ),
            pulumi.ResourceOptions(parent=self),
        )


def _auth_parameters(credential: Credential) -> aws.cloudwatch.EventConnectionAuthParametersArgsDict:
    """The provider marks no nested credential as secret: it is one because `credential.secret` already is."""
    if credential.type == "basic":
        return {"basic": {"username": credential.name, "password": credential.secret}}
    return {"api_key": {"key": credential.name, "value": credential.secret}}
