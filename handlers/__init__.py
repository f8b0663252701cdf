"""The functions: entries (`orders_api`, `confirm_shipment`, `reconcile`, `mock_carrier`), domain, and storage."""
