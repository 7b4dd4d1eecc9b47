"""What a webhook's answer may do with a waiting call, and which numbers may be dialled. Pure: no I/O, no clock."""
