"""Names and path of the hub's cookies: no other site, and nothing else on the same host, gets or sets them."""

from pbxhub.settings import Settings


def cookie_name(settings: Settings, name: str) -> str:
    """With the prefix that makes browsers insist on https, and on this very host where the hub has it to itself."""
    if not settings.public_url.startswith("https:"):
        return name
    return f"__Secure-{name}" if settings.public_path else f"__Host-{name}"


def cookie_path(settings: Settings) -> str:
    """Where browsers send them."""
    return settings.public_path or "/"
