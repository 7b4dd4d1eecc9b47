"""Notices to the members of a project, by e-mail and by HTTP: who gets which, and when."""
