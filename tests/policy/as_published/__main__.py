"""The event gateway the way articles show it: everything works in a demonstration, and each part has its flaw.

Do not deploy it. The policy pack is run over it, and has to refuse each flaw by name.
"""

import json

import pulumi
import pulumi_aws as aws
import pulumi_aws_native as aws_native

ACCOUNT = aws.get_caller_identity().account_id
REGION = "us-east-1"


def trust(service: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"},
            ],
        }
    )


def allow(action: str, resource: str) -> str:
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    )


def function(name: str, **variables: pulumi.Input[str]) -> aws.lambda_.Function:
    role = aws.iam.Role(
        name,
        assume_role_policy=trust("lambda.amazonaws.com"),
        managed_policy_arns=["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"],
    )
    aws.iam.RolePolicy(name, role=role.id, policy=allow("dynamodb:*", "*"))
    return aws.lambda_.Function(
        name,
        runtime="python3.8",
        handler="index.handler",
        role=role.arn,
        code=pulumi.AssetArchive({"index.py": pulumi.StringAsset("def handler(event, context): ...")}),
        environment={"variables": variables},
    )


# Orders, and what happens to them.
table = aws.dynamodb.Table(
    "orders",
    attributes=[{"name": "PK", "type": "S"}],
    hash_key="PK",
    billing_mode="PAY_PER_REQUEST",
    stream_enabled=True,
    stream_view_type="NEW_IMAGE",
)
bus = aws.cloudwatch.EventBus("orders", name="orders")

pipe_role = aws.iam.Role("pipe", assume_role_policy=trust("pipes.amazonaws.com"))
aws.iam.RolePolicy(
    "pipe-read", role=pipe_role.id, policy=table.stream_arn.apply(lambda arn: allow("dynamodb:GetRecords", arn))
)
aws.iam.RolePolicy("pipe-put", role=pipe_role.id, policy=allow("events:PutEvents", "*"))
aws_native.pipes.Pipe(
    "orders",
    role_arn=pipe_role.arn,
    source=table.stream_arn,
    source_parameters={"dynamo_db_stream_parameters": {"starting_position": "LATEST", "batch_size": 100}},
    target=bus.arn,
    target_parameters={
        "event_bridge_event_bus_parameters": {"source": "dynamodb.orders", "detail_type": "dynamodb-orders-stream"},
        "input_template": '{"order": {"id": "<$.dynamodb.NewImage.PK.S>", "state": "<$.dynamodb.NewImage.state.S>"}}',
    },
)

# The API.
create = function("create-order", TABLE=table.name)
api = aws.apigateway.RestApi("gateway")
orders = aws.apigateway.Resource("orders", rest_api=api.id, parent_id=api.root_resource_id, path_part="orders")
place = aws.apigateway.Method(
    "place-order", rest_api=api.id, resource_id=orders.id, http_method="POST", authorization="NONE"
)
place_by_function = aws.apigateway.Integration(
    "place-order",
    rest_api=api.id,
    resource_id=orders.id,
    http_method=place.http_method,
    type="AWS_PROXY",
    integration_http_method="POST",
    uri=create.invoke_arn,
)
aws.lambda_.Permission(
    "api", action="lambda:InvokeFunction", function=create.name, principal="apigateway.amazonaws.com"
)

confirmations = aws.apigateway.Resource(
    "confirm", rest_api=api.id, parent_id=api.root_resource_id, path_part="confirm-shipment"
)
confirm = aws.apigateway.Method(
    "confirm", rest_api=api.id, resource_id=confirmations.id, http_method="POST", authorization="NONE"
)
put_role = aws.iam.Role("put-events", assume_role_policy=trust("apigateway.amazonaws.com"))
aws.iam.RolePolicy("put-events", role=put_role.id, policy=allow("events:PutEvents", "*"))
confirm_by_event = aws.apigateway.Integration(
    "confirm",
    rest_api=api.id,
    resource_id=confirmations.id,
    http_method=confirm.http_method,
    type="AWS",
    integration_http_method="POST",
    credentials=put_role.arn,
    uri=f"arn:aws:apigateway:{REGION}:events:action/PutEvents",
    request_parameters={
        "integration.request.header.X-Amz-Target": "'AWSEvents.PutEvents'",
        "integration.request.header.Content-Type": "'application/x-amz-json-1.1'",
    },
    request_templates={
        "application/json": """{"Entries": [{
            "Source": "carrier",
            "DetailType": "carrier.order_shipped",
            "EventBusName": "orders",
            "Detail": "{\\"order_id\\": \\"$input.path('$.order_id')\\"}"
        }]}"""
    },
)
ok = aws.apigateway.MethodResponse(
    "confirm", rest_api=api.id, resource_id=confirmations.id, http_method=confirm.http_method, status_code="200"
)
answer = aws.apigateway.IntegrationResponse(
    "confirm",
    rest_api=api.id,
    resource_id=confirmations.id,
    http_method=confirm.http_method,
    status_code=ok.status_code,
    opts=pulumi.ResourceOptions(depends_on=[confirm_by_event]),
)
deployment = aws.apigateway.Deployment(
    "gateway", rest_api=api.id, opts=pulumi.ResourceOptions(depends_on=[place_by_function, answer])
)
stage = aws.apigateway.Stage("gateway", rest_api=api.id, deployment=deployment.id, stage_name="prod")

# The carrier.
carrier = function("carrier", API_PASSWORD="Pass1234!")
carrier_url = aws.lambda_.FunctionUrl("carrier", function_name=carrier.name, authorization_type="NONE")
connection = aws.cloudwatch.EventConnection(
    "carrier",
    authorization_type="BASIC",
    auth_parameters={"basic": {"username": "user", "password": "Pass1234!"}},
)
destination = aws.cloudwatch.EventApiDestination(
    "carrier",
    connection_arn=connection.arn,
    http_method="POST",
    invocation_endpoint=carrier_url.function_url,
)
new_orders = aws.cloudwatch.EventRule(
    "new-orders",
    event_bus_name=bus.name,
    event_pattern=json.dumps({"source": ["dynamodb.orders"], "detail-type": ["dynamodb-orders-stream"]}),
)
call_role = aws.iam.Role("call-carrier", assume_role_policy=trust("events.amazonaws.com"))
aws.iam.RolePolicy("call-carrier", role=call_role.id, policy=allow("events:InvokeApiDestination", "*"))
aws.cloudwatch.EventTarget(
    "carrier",
    rule=new_orders.name,
    event_bus_name=bus.name,
    arn=destination.arn,
    role_arn=call_role.arn,
    input_transformer={
        "input_paths": {"order_id": "$.detail.order.id", "state": "$.detail.order.state"},
        "input_template": '{"order_id": "<order_id>", "state": "<state>"}',
    },
)

# The confirmation.
ship = function("ship-order", TABLE=table.name)
shipped = aws.cloudwatch.EventRule(
    "shipped",
    event_bus_name=bus.name,
    event_pattern=json.dumps({"source": ["carrier"], "detail-type": ["carrier.order_shipped"]}),
)
aws.cloudwatch.EventTarget("ship-order", rule=shipped.name, event_bus_name=bus.name, arn=ship.arn)
aws.lambda_.Permission(
    "rule",
    action="lambda:InvokeFunction",
    function=ship.name,
    principal="events.amazonaws.com",
)

pulumi.export("url", stage.invoke_url)
