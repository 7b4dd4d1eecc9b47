"""What a webhook is, when it matches, and which request it renders. Pure: no I/O, no clock, no database."""
