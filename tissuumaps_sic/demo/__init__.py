"""The synthetic slide that the demo shows."""
