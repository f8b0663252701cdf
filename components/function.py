"""A Lambda function with its role and its log group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import bounds
from components.bundle import bundle
from components.grants import ServiceRole, allow
from components.queue import DeadLetterQueue
from components.scope import Scope

# Lambda's own maxima for asynchronous invocations: two retries after the first try, within six hours.
_ASYNC_RETRIES = 2
_ASYNC_AGE_SECONDS = 6 * 3600
# Lambda gives CPU by memory, a whole core at 1,769 MB, and most of a cold start is Python's imports.
_MEMORY_MIB = 512


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What all functions of a stack have in common."""

    runtime: str
    log_retention_days: int
    reserved_concurrency: int | None
    """Per function; None leaves the account's shared pool."""

    def __post_init__(self) -> None:
        bounds.demand_choice("Compute.runtime", self.runtime, bounds.RUNTIMES)
        bounds.demand_number("Compute.log_retention_days", self.log_retention_days, bounds.RETENTIONS)
        if self.reserved_concurrency is not None:
            bounds.demand_number("Compute.reserved_concurrency", self.reserved_concurrency, bounds.CONCURRENCY)


@dataclass(frozen=True, kw_only=True)
class FunctionArgs:
    """`entry` is the module of `handlers/` that defines `handler`; `role` names the function within the stack."""

    scope: Scope
    compute: Compute
    entry: str
    role: str
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    after: tuple[pulumi.Resource, ...] = ()
    """What has to be there before the function runs, or runs with other settings."""
    timeout_seconds: int = 10


class Function(pulumi.ComponentResource):
    """Runs one handler with the rights that others grant its `role`, and can otherwise only log and trace."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    known_name: str
    known_arn: str
    log_group: str
    """The name of its log group."""
    role: ServiceRole

    def __init__(self, name: str, args: FunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:Function", name, None, opts)
        scope, compute = args.scope, args.compute
        child = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        physical_name = self.known_name = scope.name(args.role)
        self.known_arn = scope.function_arn(args.role)
        # Lambda documents no condition key for this trust; its roles are told apart by iam:PassRole.
        self.role = ServiceRole(
            name,
            service="lambda.amazonaws.com",
            physical_name=physical_name,
            known_arn=scope.role_arn(args.role),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.log_group = f"/aws/lambda/{physical_name}"
        log_group = aws.cloudwatch.LogGroup(
            name, name=self.log_group, retention_in_days=compute.log_retention_days, opts=child
        )
        self.role.may(
            "writes-its-logs",
            allow(
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                on=scope.arn("logs", f"log-group:{self.log_group}:*"),
            ),
        )
        # Neither action knows resources: the service authorization reference of X-Ray allows "*" only.
        self.role.may("traces", allow("xray:PutTraceSegments", "xray:PutTelemetryRecords", on="*"))
        package = bundle(args.entry, compute.runtime)
        self._function = aws.lambda_.Function(
            name,
            name=physical_name,
            role=self.role.arn,
            runtime=compute.runtime,
            architectures=["arm64"],
            handler=f"handlers.{args.entry}.handler",
            code=pulumi.FileArchive(package.path),
            source_code_hash=package.sha256,
            memory_size=_MEMORY_MIB,
            timeout=args.timeout_seconds,
            reserved_concurrent_executions=compute.reserved_concurrency,
            environment={
                "variables": {
                    "POWERTOOLS_SERVICE_NAME": physical_name,
                    "POWERTOOLS_METRICS_NAMESPACE": scope.project,
                    **args.environment,
                }
            },
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "JSON", "log_group": log_group.name},
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(depends_on=[*self.role.grants, *args.after])
            ),
        )
        self._name = name
        self.arn, self.name = self._function.arn, self._function.name
        self.register_outputs({"arn": self.arn, "name": self.name})

    def grant_invoke(self, name: str, *, service: str, source_arn: pulumi.Input[str]) -> aws.lambda_.Permission:
        """May invoke this function: `service`, on behalf of the one source with this ARN, which names its account."""
        return aws.lambda_.Permission(
            name,
            action="lambda:InvokeFunction",
            function=self.name,
            principal=service,
            source_arn=source_arn,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )

    def grant_call(self, role: ServiceRole, ability: str) -> None:
        """`role` may invoke this function."""
        role.may(ability, allow("lambda:InvokeFunction", on=self.known_arn))

    def run_once(self, *, within_seconds: int) -> aws.lambda_.FunctionEventInvokeConfig:
        """Run an event once or, if Lambda has no room for it in that time, not at all; for events that come again."""
        return aws.lambda_.FunctionEventInvokeConfig(
            self._name,
            function_name=self.name,
            maximum_retry_attempts=0,
            maximum_event_age_in_seconds=within_seconds,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def send_failures_to(self, queue: DeadLetterQueue) -> aws.lambda_.FunctionEventInvokeConfig:
        """Retry a failed event twice within six hours, then put it into `queue` with the reason."""
        queue.grant_send(self.role, "reports-its-failures")
        return aws.lambda_.FunctionEventInvokeConfig(
            self._name,
            function_name=self.name,
            maximum_retry_attempts=_ASYNC_RETRIES,
            maximum_event_age_in_seconds=_ASYNC_AGE_SECONDS,
            destination_config={"on_failure": {"destination": queue.arn}},
            # Lambda refuses a destination that the function's role may not write to.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.role.grants]),
        )
