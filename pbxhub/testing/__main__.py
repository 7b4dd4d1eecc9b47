"""python -m pbxhub.testing: the kit's commands without the rest of the hub."""

import click

from pbxhub.testing.commands import monitor, scenario

if __name__ == "__main__":
    click.Group(commands=[scenario, monitor], help="The test kit of pbxhub.")(prog_name="python -m pbxhub.testing")
