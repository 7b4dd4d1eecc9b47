"""Asterisk Manager Interface: a guarded connection, the listener, resync after a gap, actions."""
