"""Where a project may send: the one check of an address that a user or a program gives, before it is saved."""

from pbxhub.account.access import Access
from pbxhub.account.refusals import Refusal
from pbxhub.translatable import say


def refuse_address(access: Access, path: str, url: str) -> Refusal | None:
    """Why requests of this project may not go to a URL, as far as that is known without asking the DNS; None when they
    may. path: the field that has it. The very address is checked again at each connection."""
    refused = access.hub.guard_of(access.project).check_url(url)
    if refused is None:
        return None
    return Refusal(path, say("The hub may not send there: %(why)s", why=refused.sentence),
                   say("Give an address on the public internet."))  # fmt: skip
