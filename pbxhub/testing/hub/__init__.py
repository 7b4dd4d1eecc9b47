"""A hub of its own for a test, and what can be seen in it."""
