"""What an operator does to a whole database: back it up, restore it, move it to another one."""
