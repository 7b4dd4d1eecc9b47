"""What an answer does with a waiting call, and which numbers may be dialled. Pure: no I/O, no clock."""
