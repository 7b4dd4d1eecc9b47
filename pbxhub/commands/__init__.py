"""The commands of operators, a file for each subject; cli.py lists them, and those that run the hub."""
