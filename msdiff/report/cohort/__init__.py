"""What the report says and shows of the patients of a run."""
