"""Pure: AMI messages in, stages of calls out. No I/O, no clock, no database."""
