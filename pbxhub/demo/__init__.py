"""The demo: the hub without an Asterisk. A built-in PBX plays recorded calls; a receiver shows what webhooks send."""
