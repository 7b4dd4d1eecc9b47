"""Channels that Asterisk makes for itself: never a caller, never an employee, never a reason to keep a call open."""

_TECHNOLOGIES = frozenset(
    {
        "Local",
        "Message",
        "UnicastRTP",
        "MulticastRTP",
        "AudioSocket",
        "Snoop",
        "Surrogate",
        "CBAnn",
        "CBRec",
        "Announcer",
        "Recorder",
        "Bridge",
    }
)


def is_plumbing(channel_name: str) -> bool:
    """Decided by the technology: the text before the first slash."""
    return channel_name.partition("/")[0] in _TECHNOLOGIES
