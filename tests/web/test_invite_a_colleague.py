"""An owner invites somebody, who accepts or not; others want the same address, some of them with bad intentions."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.account.account_links import Link, link_for
from pbxhub.account.refusals import Refusal
from pbxhub.delivery.context import open_context
from pbxhub.settings import MailServer, Settings
from pbxhub.store.accounts import AuditEntry, Membership, Project, User
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.support.authenticator import switch_on
from tests.support.people import PASSWORD, Browser, People
from tests.support.post_office import Box, links_in

SignedIn = Callable[[str], Browser]
NEW = "another long password"


def printed_link(app: Flask, database: Database, email: str) -> Link | Refusal:
    with database.write() as session:
        return link_for(session, app.extensions["pbxhub"], email, now())


@dataclass
class Owner:
    """The owner of a project in a browser, on the page of its members."""

    browser: Browser
    project: int

    @property
    def page(self) -> str:
        return f"/projects/{self.project}/members"

    def invites(self, email: str, role: str = "viewer") -> str:
        """The page that follows."""
        self.browser.get(self.page)
        answer = self.browser.post(self.page, {"email": email, "role": role})
        assert answer.status_code == 302
        return unescape(self.browser.get(answer.location).text)

    def presses(self, what: str) -> str:
        """A button of the only invitation there is."""
        (path,) = re.findall(rf'action="([^"]+/invitations/\d+/{what})"', self.browser.get(self.page).text)
        answer = self.browser.post(path)
        return unescape(self.browser.get(answer.location).text)


@pytest.fixture
def ours(people: People, signed_in: SignedIn) -> Owner:
    return Owner(signed_in("owner"), people.project)


@pytest.fixture
def theirs(people: People, signed_in: SignedIn) -> Owner:
    return Owner(signed_in("stranger"), people.other)


def shown_link(page: str) -> str:
    """The path of the link that a page shows; empty when it shows none."""
    found = re.search(r'id="invitation">http://localhost([^<]+)<', page)
    assert "reset-password" not in page
    return found[1] if found else ""


def join(browser: Browser, link: str, password: str = NEW):
    """Makes the account behind a link."""
    browser.get(link)
    return browser.post(link, {"your_name": "New", "password": password})


def answer(browser: Browser, link: str, with_what: str):
    browser.get(link)
    return browser.post(link, {"answer": with_what})


def is_in(browser: Browser, owner: Owner) -> bool:
    return browser.get(f"/projects/{owner.project}/calls").status_code == 200


def test_somebody_new_makes_an_account_by_a_link_that_is_shown_once(
    database: Database, ours: Owner, browser: Callable[[], Browser]
) -> None:
    link = shown_link(ours.invites("Olena@Ex\uff41mple.com", "editor"))
    assert link
    assert not shown_link(ours.browser.get(ours.page).text), "shown once"
    with database.read() as session:
        assert session.scalar(select(User.id).where(User.email == "olena@example.com")) is None, "no account before"
    olena = browser()
    assert join(olena, link, "short").status_code == 422
    made = join(olena, link)
    assert made.status_code == 302
    assert is_in(olena, ours)
    assert browser().sign_in("olena@example.com", NEW).status_code == 302
    assert "no longer valid" in browser().get(link).text, "the link works once"
    with database.read() as session:
        told = session.execute(select(AuditEntry.who, AuditEntry.action).order_by(AuditEntry.id)).all()
    assert [tuple(each) for each in told] == [
        ("owner@example.com", "member invited"), ("olena@example.com", "member added"),
    ]  # fmt: skip


def test_somebody_with_an_account_is_no_member_before_accepting(
    theirs: Owner, ours: Owner, signed_in: SignedIn
) -> None:
    page = theirs.invites("VIEWER@example.com", "owner")
    viewer = signed_in("viewer")
    assert not is_in(viewer, theirs)
    assert "becomes a member by accepting" in page
    assert "You are invited" in viewer.get("/", follow_redirects=True).text
    listed = viewer.get("/invitations").text
    assert "Theirs" in listed
    assert "stranger@example.com" in listed
    (accept,) = re.findall(r'action="(/invitations/\d+/accept)"', listed)
    assert viewer.post(accept).status_code == 302
    assert viewer.get(f"/projects/{theirs.project}/settings").status_code == 200
    assert viewer.post(accept).status_code == 404
    assert "viewer@example.com" in theirs.browser.get(theirs.page).text


def test_declining_makes_nobody_a_member_and_the_project_hears_of_it(
    database: Database, theirs: Owner, signed_in: SignedIn
) -> None:
    theirs.invites("viewer@example.com")
    viewer = signed_in("viewer")
    (decline,) = re.findall(r'action="(/invitations/\d+/decline)"', viewer.get("/invitations").text)
    viewer.post(decline)
    assert not is_in(viewer, theirs)
    assert "You have no invitations" in viewer.get("/invitations").text
    with database.read() as session:
        assert session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()[-1] == "invitation declined"


def test_nobody_answers_for_somebody_else(theirs: Owner, signed_in: SignedIn, browser: Callable[[], Browser]) -> None:
    link = shown_link(theirs.invites("viewer@example.com"))
    editor = signed_in("editor")
    page = unescape(editor.get(link).text)
    assert "You are signed in as editor@example.com" in page
    assert answer(editor, link, "accept").status_code == 200
    assert not is_in(editor, theirs)
    (accept,) = re.findall(r"/invitations/\d+/accept", signed_in("viewer").get("/invitations").text)
    assert editor.post(accept).status_code == 404
    visitor = browser().get(link)
    assert visitor.status_code == 302
    assert visitor.location.startswith("/sign-in?next=")


def test_nobody_takes_over_an_address_that_two_projects_have_invited(
    ours: Owner, theirs: Owner, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    """Whichever comes first, whichever is used first."""
    first = shown_link(theirs.invites("boss@example.com"))
    assert first
    page = ours.invites("boss@example.com", "owner")
    assert not shown_link(page)
    assert "pbxhub user link boss@example.com" in page
    refused = browser().get(first)
    assert refused.status_code == 409
    assert "this link does not create one" in refused.text
    assert join(browser(), first).status_code == 409
    ours.presses("withdraw")
    boss = browser()
    assert join(boss, first).status_code == 302
    assert is_in(boss, theirs)


def test_an_account_made_by_a_shown_link_joins_nothing_else_by_itself(
    app: Flask, database: Database, ours: Owner, theirs: Owner, browser: Callable[[], Browser]
) -> None:
    """An owner makes the account of somebody whom another project will want, and waits."""
    thief = browser()
    join(thief, shown_link(theirs.invites("director@example.com")))
    page = ours.invites("director@example.com", "owner")
    assert not is_in(thief, ours)
    waiting = thief.get("/invitations").text
    assert "Ours" not in waiting
    assert "confirm that this address is yours" in waiting
    with database.read() as session:
        invitation = session.scalars(select(Invitation.id)).one()
    for what in ("accept", "decline"):
        thief.post(f"/invitations/{invitation}/{what}")
    assert not is_in(thief, ours)
    switch_on(thief)
    printed = printed_link(app, database, "Director@Example.com")
    assert not isinstance(printed, Refusal)
    director, path = browser(), printed.address.removeprefix("http://localhost")
    director.get(path)
    director.post(path, {"password": PASSWORD, "password_confirm": PASSWORD, "submit": "1"})
    assert director.sign_in("director@example.com").status_code == 302, "the thief's second factor is gone"
    assert thief.get("/projects").status_code == 302, "and so is the thief"
    assert answer(director, shown_link(page), "accept").status_code == 302
    assert director.get(f"/projects/{ours.project}/settings").status_code == 200


def test_invitations_go_by_mail_and_show_nothing(
    database: Database, settings: Settings, people: People, post_office: tuple[Box, MailServer]
) -> None:
    box, server = post_office
    app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)), mail=server)
    owners = []
    for name, project in (("owner", people.project), ("stranger", people.other)):
        browser = Browser(app.test_client())
        browser.sign_in(f"{name}@example.com")
        owners.append(Owner(browser, project))
    for owner in owners:
        page = owner.invites("boss@example.com")
        assert not shown_link(page)
        assert "A mail with a link was sent to boss@example.com" in page
    assert [mail["To"] for mail in box.mails] == ["boss@example.com"] * 2
    assert "owner@example.com invites you to the project Ours" in box.mails[0].get_payload(decode=True).decode()
    boss = Browser(app.test_client())
    (link,) = links_in(box.mails[0])
    assert join(boss, link).status_code == 302
    assert is_in(boss, owners[0])
    assert not is_in(boss, owners[1]), "the password of the one invitation accepts no other"
    (accept,) = re.findall(r'action="(/invitations/\d+/accept)"', boss.get("/invitations").text)
    boss.post(accept)
    assert is_in(boss, owners[1])


def test_nobody_is_flooded_with_mails_of_one_project(
    database: Database, settings: Settings, people: People, post_office: tuple[Box, MailServer]
) -> None:
    box, server = post_office
    app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)), mail=server)
    ours = Owner(Browser(app.test_client()), people.project)
    ours.browser.sign_in("owner@example.com")
    pages = [ours.invites("new@example.com"), *(ours.presses("again") for _ in range(4))]
    assert [len(re.findall("A mail with a link was sent", page)) for page in pages] == [1, 1, 1, 0, 0]
    assert "Wait 5 min and send it again" in pages[-1]
    assert len(box.mails) == 3
    assert "was sent to other@example.com" in ours.invites("other@example.com")


def test_a_mail_that_cannot_leave_is_told_and_the_invitation_stays(
    database: Database, settings: Settings, people: People
) -> None:
    app = create_app(
        settings,
        open_context(settings, database, Vault(settings.secret_key)),
        mail=MailServer("127.0.0.1", 1, "h@example.com"),
    )
    browser = Browser(app.test_client())
    browser.sign_in("owner@example.com")
    page = Owner(browser, people.project).invites("boss@example.com")
    assert "could not be sent" in page
    assert "Send again" in page
    assert not shown_link(page)


def test_a_new_link_takes_the_place_of_the_old_one_and_a_withdrawn_one_is_worth_nothing(
    ours: Owner, browser: Callable[[], Browser]
) -> None:
    old = shown_link(ours.invites("olena@example.com"))
    new = shown_link(ours.presses("again"))
    assert new
    assert browser().get(old).status_code == 404
    ours.presses("withdraw")
    assert browser().get(new).status_code == 404
    assert join(browser(), new).status_code == 404


def test_an_invitation_ends_after_a_week_and_can_be_sent_again(
    database: Database, ours: Owner, theirs: Owner, browser: Callable[[], Browser], signed_in: SignedIn
) -> None:
    link = shown_link(ours.invites("olena@example.com"))
    theirs.invites("viewer@example.com")
    with database.write() as session:
        session.execute(update(Invitation).values(expires_on=now() - timedelta(seconds=1)))
    assert browser().get(link).status_code == 404
    assert "You have no invitations" in signed_in("viewer").get("/invitations").text
    assert "expired" in ours.browser.get(ours.page).text
    assert join(browser(), shown_link(ours.presses("again"))).status_code == 302


def test_inviting_again_changes_the_role_and_a_member_is_not_invited(
    database: Database, ours: Owner, browser: Callable[[], Browser]
) -> None:
    ours.invites("olena@example.com", "owner")
    link = shown_link(ours.invites("OLENA@example.com", "viewer"))
    join(browser(), link)
    with database.read() as session:
        role = select(Membership.role).join(User).where(User.email == "olena@example.com")
        assert session.scalars(role).one() == "viewer"
    page = ours.invites("Viewer@example.com", "owner")
    assert "viewer@example.com is a member already" in page
    assert not shown_link(page)


def test_two_browsers_that_accept_at_once_make_one_member(
    database: Database, theirs: Owner, signed_in: SignedIn
) -> None:
    theirs.invites("viewer@example.com")
    browsers = [signed_in("viewer") for _ in range(4)]
    (accept,) = re.findall(r'action="(/invitations/\d+/accept)"', browsers[0].get("/invitations").text)
    with ThreadPoolExecutor(4) as threads:
        codes = [done.status_code for done in threads.map(lambda each: each.post(accept), browsers)]
    assert sorted(codes) == [302, 404, 404, 404]


def test_two_that_make_the_account_at_once_make_one(
    app: Flask, database: Database, ours: Owner, browser: Callable[[], Browser]
) -> None:
    link = shown_link(ours.invites("olena@example.com"))
    browsers = [browser() for _ in range(4)]
    for each in browsers:
        each.get(link)
    with ThreadPoolExecutor(4) as threads:
        form = {"your_name": "Olena", "password": NEW}
        codes = [done.status_code for done in threads.map(lambda each: each.post(link, form), browsers)]
    assert set(codes) <= {302, 404}
    assert [is_in(each, ours) for each in browsers].count(True) == 1


def test_a_project_that_is_gone_invites_nobody(
    database: Database, theirs: Owner, browser: Callable[[], Browser], signed_in: SignedIn
) -> None:
    link = shown_link(theirs.invites("olena@example.com"))
    theirs.invites("viewer@example.com")
    with database.write() as session:
        session.delete(session.get_one(Project, theirs.project))
    assert browser().get(link).status_code == 404
    assert "You have no invitations" in signed_in("viewer").get("/invitations").text


def test_the_operator_hands_out_links_where_no_mail_goes(
    app: Flask, database: Database, ours: Owner, theirs: Owner, browser: Callable[[], Browser]
) -> None:
    assert isinstance(printed_link(app, database, "boss@example.com"), Refusal)
    theirs.invites("boss@example.com")
    ours.invites("boss@example.com")
    printed = printed_link(app, database, "BOSS@example.com")
    assert not isinstance(printed, Refusal)
    boss = browser()
    assert join(boss, printed.address.removeprefix("http://localhost")).status_code == 302
    assert is_in(boss, ours)
    assert not is_in(boss, theirs)
