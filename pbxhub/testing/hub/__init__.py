"""A hub for a test, and access to its data."""
