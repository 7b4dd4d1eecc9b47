"""Our texts for the sign-in library's messages, so that they are translated."""

from typing import Any

from pbxhub.web.language import lazy_gettext as _


def messages() -> dict[str, Any]:
    """Its settings SECURITY_MSG_*: text and kind."""
    texts = {
        "GENERIC_AUTHN_FAILED": (_("E-mail or password is wrong."), "error"),
        "GENERIC_RECOVERY": (_("If there is such a user, a mail with a link was sent."), "info"),
        "INVALID_PASSWORD": (_("The password is wrong."), "error"),
        "INVALID_CODE": (_("The code is wrong or used already."), "error"),
        "INVALID_RECOVERY_CODE": (_("The code is wrong or used already."), "error"),
        "TWO_FACTOR_INVALID_TOKEN": (_("The code is wrong or used already."), "error"),
        "TWO_FACTOR_CHANGE_METHOD_SUCCESSFUL": (_("Two-factor sign-in is on."), "success"),
        "TWO_FACTOR_DISABLED": (_("Two-factor sign-in is off."), "success"),
        "RETYPE_PASSWORD_MISMATCH": (_("The two passwords differ."), "error"),
        "PASSWORD_IS_THE_SAME": (_("This is the old password; choose another."), "error"),
        "PASSWORD_CHANGE": (_("The password is changed."), "success"),
        "PASSWORD_RESET_NO_LOGIN": (_("The password is set. Sign in with it."), "success"),
        "INVALID_RESET_PASSWORD_TOKEN": (_("This link is no longer valid; ask for a new one."), "error"),
    }
    return {f"SECURITY_MSG_{name}": text for name, text in texts.items()}
