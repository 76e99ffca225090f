"""Networks, and their weights on disk together with what is needed to build them again."""
