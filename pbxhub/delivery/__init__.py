"""From a stage to an attempt: publish, claim, send, record."""
