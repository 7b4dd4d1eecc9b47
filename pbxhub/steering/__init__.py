"""Pure: what an answer wants done with a waiting call, and which numbers may be dialled. No I/O, no clock."""
