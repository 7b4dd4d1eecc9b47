"""Pure: what a webhook is, when it matches and what request it renders. No I/O, no clock, no database."""
