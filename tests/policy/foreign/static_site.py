"""A static site: a private bucket behind CloudFront, with a log bucket."""

import json

import pulumi
import pulumi_aws as aws

site = aws.s3.Bucket("site", force_destroy=False)
aws.s3.BucketPublicAccessBlock(
    "site",
    bucket=site.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
)
aws.s3.BucketObject("index.html", bucket=site.id, content="<h1>Hello</h1>", content_type="text/html")
access = aws.cloudfront.OriginAccessControl(
    "site", origin_access_control_origin_type="s3", signing_behavior="always", signing_protocol="sigv4"
)
cdn = aws.cloudfront.Distribution(
    "site",
    enabled=True,
    default_root_object="index.html",
    origins=[
        {
            "origin_id": "site",
            "domain_name": site.bucket_regional_domain_name,
            "origin_access_control_id": access.id,
        }
    ],
    default_cache_behavior={
        "target_origin_id": "site",
        "viewer_protocol_policy": "redirect-to-https",
        "allowed_methods": ["GET", "HEAD"],
        "cached_methods": ["GET", "HEAD"],
        "forwarded_values": {"query_string": False, "cookies": {"forward": "none"}},
    },
    restrictions={"geo_restriction": {"restriction_type": "none"}},
    viewer_certificate={"cloudfront_default_certificate": True},
)
aws.s3.BucketPolicy(
    "site",
    bucket=site.id,
    policy=pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudfront.amazonaws.com"},
                    "Action": "s3:GetObject",
                    "Resource": pulumi.Output.concat(site.arn, "/*"),
                    "Condition": {"StringEquals": {"AWS:SourceArn": cdn.arn}},
                }
            ],
        }
    ),
)
# A site is invalidated by a deployment that an EventBridge rule of AWS's own events starts: no custom bus, no carrier.
topic = aws.sns.Topic("deployed")
rule = aws.cloudwatch.EventRule(
    "deployed",
    event_pattern=json.dumps(
        {"source": ["aws.codepipeline"], "detail-type": ["CodePipeline Pipeline Execution State Change"]}
    ),
)
queue = aws.sqs.Queue("deployed-dead-letters", sqs_managed_sse_enabled=True, message_retention_seconds=1209600)
aws.sqs.QueuePolicy(
    "deployed-dead-letters",
    queue_url=queue.url,
    policy=pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue.arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": rule.arn}},
                },
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sqs:*",
                    "Resource": queue.arn,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        }
    ),
)
aws.cloudwatch.EventTarget(
    "deployed",
    rule=rule.name,
    arn=topic.arn,
    dead_letter_config={"arn": queue.arn},
    retry_policy={"maximum_event_age_in_seconds": 86400, "maximum_retry_attempts": 185},
)
pulumi.export("url", cdn.domain_name)
