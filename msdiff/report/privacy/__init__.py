"""What the report says and shows of privacy."""
