"""An AMI user that may start calls."""

from dataclasses import dataclass

from pbxhub.testing.pbx.asterisk import PASSWORD


@dataclass(frozen=True)
class CallingUser:
    """The AMI user that may start calls, [pbxhub-calls] of asterisk-conf/."""

    host: str
    port: int
    username: str = "pbxhub-caller"
    secret: str = PASSWORD
