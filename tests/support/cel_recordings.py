"""The rows of Asterisk's CEL in a recording: AMI sends each of them as an event as well."""

from collections.abc import Iterator

from pbxhub.calls.cel_rows import CelRow, read_row
from pbxhub.calls.replay import blocks
from tests.support.recordings import scenarios

# Column -> header of the CEL event that AMI sends of the same row.
HEADERS = {
    "eventtype": "EventName",
    "eventtime": "Timestamp",
    "cidname": "CallerIDname",
    "cidnum": "CallerIDnum",
    "ciddnid": "CallerIDdnid",
    "exten": "Exten",
    "context": "Context",
    "channame": "Channel",
    "appname": "Application",
    "appdata": "AppData",
    "uniqueid": "UniqueID",
    "linkedid": "LinkedID",
    "peer": "Peer",
    "userfield": "Userfield",
    "eventextra": "Extra",
}


def rows_of(version: str, name: str) -> Iterator[CelRow]:
    for block, _ in blocks(scenarios(version)[name]):
        headers = dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in block.split("\n"))
        if headers.get("Event") == "CEL":
            columns = {column: headers.get(header, "") for column, header in HEADERS.items()}
            if columns["eventtype"] == "EVALUATION":
                columns |= {"eventtype": "USER_DEFINED", "userdeftype": "EVALUATION"}
            yield read_row(columns)
