"""The hub at work without an Asterisk: recorded calls are played, their webhooks arrive where one can look at them."""
