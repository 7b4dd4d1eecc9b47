"""Servers for tests that take webhooks: well, badly, or as the test says."""
