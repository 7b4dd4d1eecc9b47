"""Runs the command pbxhub: python -m pbxhub."""

from pbxhub.cli import main

main(prog_name="pbxhub")
