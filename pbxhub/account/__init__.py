"""What a person or a program may do with the hub: the rules for the pages, the API and the command line."""
