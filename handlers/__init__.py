"""The functions behind the gateway: entries (`orders_api`, `confirm_shipment`, `mock_carrier`), domain, and storage."""
