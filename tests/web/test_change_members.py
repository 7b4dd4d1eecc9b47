"""Owners change the roles of members, also at the same moment."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.store.accounts import Membership, User
from pbxhub.store.session import Database
from pbxhub.testing.waiting import await_until
from tests.support.locks import waiting_for_locks
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


def test_the_last_owner_stays(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/members"
    ids = re.findall(r"/members/(\d+)", owner.get(path).get_data(as_text=True))
    assert len(ids) == 3
    for user_id in ids:
        owner.post(f"{path}/{user_id}", {"role": "viewer"})
    assert owner.get(f"/projects/{people.project}/settings").status_code == 200


@pytest.mark.parametrize("role", ["viewer", "none"])
def test_two_owners_at_once_do_not_leave_the_project_without_one(
    app: Flask, database: Database, people: People, signed_in: SignedIn, role: str
) -> None:
    """Each takes the other's role away. Both have been let in as owners before either has written: on PostgreSQL a
    lock on their memberships holds both back there."""
    with database.write() as session:
        ids = {row.name: row.id for row in session.execute(select(User.name, User.id))}
        theirs = Membership.user_id.in_((ids["Owner"], ids["Editor"]))
        session.execute(update(Membership).where(theirs).values(role="owner"))
    first, second = signed_in("owner"), signed_in("editor")
    path = f"/projects/{people.project}/members"
    with ThreadPoolExecutor(2) as threads, database.engine.connect() as other:
        if not database.is_sqlite:
            other.execute(select(Membership.id).where(theirs).with_for_update())
        answers = [
            threads.submit(browser.post, f"{path}/{ids[name]}", {"role": role})
            for browser, name in ((first, "Editor"), (second, "Owner"))
        ]
        if not database.is_sqlite:
            await_until(lambda: waiting_for_locks(database) == 2)
        other.rollback()
        assert {answer.result().status_code for answer in answers} <= {302, 403, 404}
    with database.read() as session:
        owners = select(Membership.user_id).where(Membership.role == "owner", Membership.project_id == people.project)
        assert len(session.scalars(owners).all()) == 1
