"""From raw scans to normalised brains on one grid."""
