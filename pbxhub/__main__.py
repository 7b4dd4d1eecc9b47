"""python -m pbxhub is the command pbxhub."""

from pbxhub.cli import main

main(prog_name="pbxhub")
