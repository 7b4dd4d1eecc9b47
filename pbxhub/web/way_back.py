"""Back into an account: without a mail server, the page *Forgot your password?* says so instead of promising a mail."""

from functools import wraps

from flask import Flask, make_response, render_template, request
from flask.typing import ResponseReturnValue

from pbxhub.account.refusals import ConflictError
from pbxhub.translatable import say
from pbxhub.wsgi.current import hub


def install(app: Flask) -> None:
    """Replaces the sign-in library's view where no mail can be sent."""
    view = app.view_functions["security.forgot_password"]

    @wraps(view)
    def forgot_password() -> ResponseReturnValue:
        if hub().mail is not None:
            return make_response(view())
        if request.method == "GET" and not request.is_json:
            return render_template("security/no_mail.html")
        raise ConflictError(say("This hub sends no e-mail. Ask its operator for a new password or for a link."))

    app.view_functions["security.forgot_password"] = forgot_password
