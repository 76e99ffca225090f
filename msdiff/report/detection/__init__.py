"""What the report says and shows of the detectors of new lesions."""
