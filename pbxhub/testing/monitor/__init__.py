"""Scenarios on a schedule, with metrics."""
