"""What every outcome of a request means and what helps, each under a number of its own.

For everybody, signed in or not: e-mails and other programs link to these pages. They say nothing about any project.
"""

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from pbxhub.sending.outcome_pages import EXPLANATIONS
from pbxhub.sending.outcomes import OUTCOMES, STATUS_HINTS, numbered
from pbxhub.webhooks.answer_verdict import code_of_status

pages = Blueprint("error_numbers", __name__, url_prefix="/errors")


@pages.get("")
def index() -> ResponseReturnValue:
    """All of them."""
    return render_template("error_numbers/index.html", codes=list(OUTCOMES))


@pages.get("/<int:number>")
def page(number: int) -> ResponseReturnValue:
    """Cause, what the receiver has seen, what helps, one example."""
    found = numbered(number) or abort(404)
    statuses = [status for status in STATUS_HINTS if code_of_status(status) == found.code]
    return render_template("error_numbers/page.html", code=found.code, why=EXPLANATIONS[found.code], statuses=statuses)
