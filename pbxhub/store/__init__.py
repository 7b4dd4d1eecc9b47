"""The tables. The database is all that the processes of the hub share."""
