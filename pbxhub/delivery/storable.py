"""Values on their way into the database: what one of the two databases would refuse is replaced, not lost."""

from pbxhub.webhooks.saved_values import storable

__all__ = ["clip", "storable"]


def clip(text: str, length: int) -> str:
    """The text as both databases take it (no NUL, no half of a surrogate pair), cut to the length of its column."""
    cut = text[:length]
    return cut if cut.isascii() and "\0" not in cut else storable(cut)
