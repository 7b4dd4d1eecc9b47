"""The tables. The processes of the hub share nothing except the database."""
