"""Where orders live: one table whose stream starts everything else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.grants import ServiceRole, allow
from components.scope import Scope
from contracts import PENDING_INDEX


@dataclass(frozen=True, kw_only=True)
class OrdersStoreArgs:
    scope: Scope
    protect: bool
    """Refuse to delete or replace the table, by AWS and by Pulumi alike."""


class OrdersStore(pulumi.ComponentResource):
    """Keeps every order, restorable to any second of 35 days, and streams each change once, in order per order."""

    table_name: pulumi.Output[str]
    stream_arn: pulumi.Output[str]
    known_name: str

    def __init__(self, name: str, args: OrdersStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:OrdersStore", name, None, opts)
        self.known_name, self._known_arn = args.scope.name("orders"), args.scope.table_arn("orders")
        # A new table or another view type is another stream, and the pipe that read the old one is dead.
        self._table = aws.dynamodb.Table(
            name,
            name=self.known_name,
            billing_mode="PAY_PER_REQUEST",
            hash_key="PK",
            attributes=[
                {"name": "PK", "type": "S"},
                {"name": "pending_shard", "type": "S"},
                {"name": "pending_since", "type": "S"},
            ],
            # Sparse: only pending orders carry both keys. By carrier, as each has a time of its own, and sharded, as a
            # key value takes 1,000 writes a second.
            global_secondary_indexes=[
                {
                    "name": PENDING_INDEX,
                    "key_schemas": [
                        {"attribute_name": "pending_shard", "key_type": "HASH"},
                        {"attribute_name": "pending_since", "key_type": "RANGE"},
                    ],
                    "projection_type": "INCLUDE",
                    "non_key_attributes": ["carrier", "state"],
                }
            ],
            stream_enabled=True,
            stream_view_type="NEW_IMAGE",
            point_in_time_recovery={"enabled": True},
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=args.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.table_name, self.stream_arn = self._table.name, self._table.stream_arn
        self.register_outputs({"table_name": self.table_name, "stream_arn": self.stream_arn})

    def grant_create(self, role: ServiceRole) -> None:
        """May put orders; cannot read, change or delete them."""
        role.may("creates-orders", allow("dynamodb:PutItem", on=self._known_arn))

    def grant_read(self, role: ServiceRole) -> None:
        """May read one order by its id; cannot list any."""
        role.may("reads-orders", allow("dynamodb:GetItem", on=self._known_arn))

    def grant_ship(self, role: ServiceRole) -> None:
        """May update orders; cannot read or delete them. The condition on the update keeps it to pending ones."""
        role.may("ships-orders", allow("dynamodb:UpdateItem", on=self._known_arn))

    def grant_list_pending(self, role: ServiceRole) -> None:
        """May list the pending orders, of which the index shows id, carrier, state and since when they wait."""
        role.may("lists-pending-orders", allow("dynamodb:Query", on=f"{self._known_arn}/index/{PENDING_INDEX}"))

    def grant_reconcile(self, role: ServiceRole) -> None:
        """May update orders; cannot read or delete them. Conditions keep it to how often and since when one waits."""
        role.may("lets-orders-wait-anew", allow("dynamodb:UpdateItem", on=self._known_arn))

    def grant_stream(self, role: ServiceRole) -> None:
        """May read the table's stream, and nothing of the table itself.

        The four actions are those that the EventBridge user guide lists for a pipe from a DynamoDB stream. The
        stream's label is its creation time, unknown before: hence the one wildcard.
        """
        role.may(
            "reads-the-stream",
            allow(
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
                on=f"{self._known_arn}/stream/*",
            ),
        )
