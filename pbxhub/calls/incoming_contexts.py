"""The dialplan contexts in which calls from outside arrive: what an operator must set of a PBX."""

DEFAULT_INCOMING_CONTEXTS = ("from-trunk", "from-pstn", "from-did-direct", "from-external")
"""The names of FreePBX and of plain Asterisk examples."""
