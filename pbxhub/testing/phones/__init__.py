"""Real SIP phones, and what they hear."""
