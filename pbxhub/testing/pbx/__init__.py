"""A PBX for tests: a real Asterisk, or one that plays recordings."""
