"""What the report says and shows of trainings and computing time."""
