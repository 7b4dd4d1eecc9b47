"""Asterisk Manager Interface: the connection to each PBX, the listener, resync after a gap, actions."""
