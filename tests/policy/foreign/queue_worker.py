"""A worker in a VPC that takes jobs from a queue, and a database with a generated password."""

import json

import pulumi
import pulumi_aws as aws

vpc = aws.ec2.Vpc("workers", cidr_block="10.0.0.0/16", enable_dns_hostnames=True)
subnets = [
    aws.ec2.Subnet(f"private-{zone}", vpc_id=vpc.id, cidr_block=f"10.0.{index}.0/24", availability_zone=zone)
    for index, zone in enumerate(("eu-west-1a", "eu-west-1b"))
]
inside = aws.ec2.SecurityGroup(
    "inside",
    vpc_id=vpc.id,
    ingress=[{"protocol": "tcp", "from_port": 5432, "to_port": 5432, "self": True}],
    egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}],
)
group = aws.rds.SubnetGroup("jobs", subnet_ids=[subnet.id for subnet in subnets])
database = aws.rds.Instance(
    "jobs",
    engine="postgres",
    instance_class="db.t4g.micro",
    allocated_storage=20,
    db_subnet_group_name=group.name,
    vpc_security_group_ids=[inside.id],
    username="jobs",
    manage_master_user_password=True,
    storage_encrypted=True,
    skip_final_snapshot=False,
    final_snapshot_identifier="jobs-final",
)
failed = aws.sqs.Queue("failed-jobs", message_retention_seconds=1209600, kms_master_key_id="alias/aws/sqs")
jobs = aws.sqs.Queue(
    "jobs",
    visibility_timeout_seconds=180,
    kms_master_key_id="alias/aws/sqs",
    redrive_policy=failed.arn.apply(lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})),
)
role = aws.iam.Role(
    "worker",
    assume_role_policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
    ),
)
for name in ("AWSLambdaVPCAccessExecutionRole", "AWSLambdaSQSQueueExecutionRole"):
    aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=f"arn:aws:iam::aws:policy/service-role/{name}")
worker = aws.lambda_.Function(
    "worker",
    package_type="Image",
    image_uri="111122223333.dkr.ecr.eu-west-1.amazonaws.com/worker:1",
    role=role.arn,
    timeout=30,
    memory_size=1024,
    vpc_config={"subnet_ids": [subnet.id for subnet in subnets], "security_group_ids": [inside.id]},
    environment={"variables": {"DATABASE_HOST": database.address}},
)
aws.lambda_.EventSourceMapping(
    "jobs", event_source_arn=jobs.arn, function_name=worker.arn, function_response_types=["ReportBatchItemFailures"]
)
# A nightly job: a schedule on the default bus that puts a message into the queue.
nightly = aws.cloudwatch.EventRule("nightly", schedule_expression="cron(0 3 * * ? *)")
aws.sqs.QueuePolicy(
    "jobs",
    queue_url=jobs.url,
    policy=pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": jobs.arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": nightly.arn}},
                }
            ],
        }
    ),
)
aws.cloudwatch.EventTarget("nightly", rule=nightly.name, arn=jobs.arn, input=json.dumps({"job": "vacuum"}))
pulumi.export("queue", jobs.url)
