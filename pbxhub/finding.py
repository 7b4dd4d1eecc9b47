"""The result of one check, as `pbxhub check`, the page PBX and the API show it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """well: whether the check passed. sentence: what was found or what to do (translatable.py)."""

    well: bool
    sentence: str
