"""Sends one HTTP request: checks the target, sends, returns the answer or the failure. Uses no database."""
