"""Which values a page may print in configuration to copy: manager.conf, the dialplan.

Checked when it is printed, whatever was checked when it was saved: a row may be older than a rule. A value that is not
allowed there is not printed; the page says so instead.
"""

from pbxhub.account.pbxs import user_name

_DIALPLAN = frozenset(",;()[]{}$\"'\\|&^=<>")  # separate, quote or expand in extensions.conf


def section_of(username: str) -> str:
    """The user name where it may stand between [ ] in manager.conf; "" otherwise."""
    return "" if user_name(username) else username


def value_of(secret: str) -> str:
    """A secret that manager.conf reads as it is; "" otherwise: a semicolon begins a comment there, spaces at the ends
    are dropped, and so is a > after the equals sign."""
    plain = secret.isprintable() and secret == secret.strip() and ";" not in secret and not secret.startswith(">")
    return secret if plain else ""


def argument_of(text: str) -> str:
    """A text that the dialplan takes as one argument of an application; "" otherwise."""
    return text if text.isprintable() and text == text.strip() and not _DIALPLAN & set(text) else ""
