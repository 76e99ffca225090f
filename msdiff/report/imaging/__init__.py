"""What the report says and shows of the scans and their preprocessing."""
