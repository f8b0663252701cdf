"""An HTTP API (v2) with a JWT authorizer in front of a function that keeps its data in a table."""

import json

import pulumi
import pulumi_aws as aws

table = aws.dynamodb.Table(
    "notes",
    attributes=[{"name": "id", "type": "S"}],
    hash_key="id",
    billing_mode="PAY_PER_REQUEST",
    point_in_time_recovery={"enabled": True},
    deletion_protection_enabled=True,
)
role = aws.iam.Role(
    "notes",
    assume_role_policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
    ),
)
aws.iam.RolePolicyAttachment(
    "logs", role=role.name, policy_arn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
)
aws.iam.RolePolicy(
    "table",
    role=role.id,
    policy=pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": table.arn}
            ],
        }
    ),
)
function = aws.lambda_.Function(
    "notes",
    runtime="nodejs22.x",
    handler="index.handler",
    role=role.arn,
    code=pulumi.AssetArchive({"index.js": pulumi.StringAsset("exports.handler = async () => ({statusCode: 204});")}),
    environment={"variables": {"TABLE_NAME": table.name}},
)
api = aws.apigatewayv2.Api("notes", protocol_type="HTTP")
authorizer = aws.apigatewayv2.Authorizer(
    "notes",
    api_id=api.id,
    authorizer_type="JWT",
    identity_sources=["$request.header.Authorization"],
    jwt_configuration={"audiences": ["notes"], "issuer": "https://login.example.com"},
)
integration = aws.apigatewayv2.Integration(
    "notes",
    api_id=api.id,
    integration_type="AWS_PROXY",
    integration_uri=function.invoke_arn,
    payload_format_version="2.0",
)
aws.apigatewayv2.Route(
    "notes",
    api_id=api.id,
    route_key="ANY /notes/{id}",
    authorization_type="JWT",
    authorizer_id=authorizer.id,
    target=pulumi.Output.concat("integrations/", integration.id),
)
aws.apigatewayv2.Stage("notes", api_id=api.id, name="$default", auto_deploy=True)
aws.lambda_.Permission(
    "api",
    action="lambda:InvokeFunction",
    function=function.name,
    principal="apigateway.amazonaws.com",
    source_arn=pulumi.Output.concat(api.execution_arn, "/*/*"),
)
pulumi.export("url", api.api_endpoint)
