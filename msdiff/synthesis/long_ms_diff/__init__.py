"""Long-MS-Diff: follow-up FLAIR slices from baseline, lesion change mask and scalars."""
