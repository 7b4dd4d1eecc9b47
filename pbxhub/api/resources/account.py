"""The project of the key, its PBXs, numbers, employees and saved filters."""

from typing import Any, TypeVar

from flask import request
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account import dial_plans as dial_plan_rules
from pbxhub.account import pbxs as pbx_rules
from pbxhub.account import project_settings
from pbxhub.account.access import Access, row_of
from pbxhub.account.dial_plans import dial_plan_to_change
from pbxhub.account.employees import delete_employee, save_employee
from pbxhub.account.numbers import delete_number, save_number
from pbxhub.account.saved_filters import delete_filter, filter_of, save_filter, saved_filters
from pbxhub.account.strange_contexts import strange_contexts
from pbxhub.api.answers import check_if_match, check_match, page, tagged
from pbxhub.api.authentication import changes, needs, reading_project, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import accepted, refuse, refuse_all, wrong_field
from pbxhub.api.schemas import account as schemas
from pbxhub.api.schemas.base import Paging, page_of
from pbxhub.store.accounts import Employee, Number, Pbx, SavedFilter
from pbxhub.store.ordered_calls import dial_plan_of
from pbxhub.wsgi.current import now

account = Blueprint("account", __name__, description="The project, its PBXs, numbers and employees")
RowT = TypeVar("RowT", Pbx, Number, Employee)
_PROJECT = schemas.Project()
_PBX = schemas.Pbx()
# Fields of a PBX that nobody can set.
_LIVE = ("state", "state_reason", "state_since", "last_event_on", "asterisk_version", "listener_host")
_PLAN = schemas.DialPlan()


@account.get("/projects")
@account.response(200, page_of(schemas.Project))
@reads("account.read")
def projects(_session: Session, access: Access) -> Any:
    """The projects of the key: one."""
    return {"items": [access.project], "next": None}


@account.get("/projects/<int:project_id>")
@account.response(200, schemas.Project)
@reads("account.read")
def project(_session: Session, access: Access, project_id: int) -> Any:
    """The project."""
    return tagged(_PROJECT.dump(_own(access, project_id).project))


@account.patch("/projects/<int:project_id>")
@account.arguments(schemas.Project(partial=True))
@account.response(200, schemas.Project)
@changes("project.change")
def change_project(session: Session, access: Access, data: dict[str, Any], project_id: int) -> Any:
    """Changes name, time zone, country, working hours, holidays or the lifetime of links to recordings."""
    row = _own(access, project_id).project
    check_match(_PROJECT.dump(row))
    refuse_all(project_settings.change_project(session, access, data))
    return tagged(_PROJECT.dump(row))


@account.post("/projects/<int:project_id>/recording-links/revoke")
@account.response(204)
@changes("project.change")
def revoke_recording_links(session: Session, access: Access, project_id: int) -> None:
    """Revokes every link to a recording that was made until now; later requests get new ones."""
    project_settings.revoke_recording_links(session, _own(access, project_id))


@account.get("/pbxs")
@account.arguments(Paging, location="query")
@account.response(200, page_of(schemas.Pbx))
@reads("account.read")
def pbxs(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The PBXs of the project."""
    return _list(session, access, Pbx, wanted)


@account.post("/pbxs")
@account.arguments(schemas.Pbx)
@account.response(201, schemas.Pbx)
@changes("pbxs.change")
def add_pbx(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds a PBX; the listener connects to it automatically."""
    row = accepted(pbx_rules.add_pbx(session, access, _wanted(data)))
    return tagged(_PBX.dump(row), 201, _LIVE)


@account.get("/pbxs/<int:pbx_id>")
@account.response(200, schemas.Pbx)
@reads("account.read")
def pbx(session: Session, access: Access, pbx_id: int) -> Any:
    """One PBX, with the state that the listener last saw."""
    return tagged(_PBX.dump(row_of(session, access, Pbx, pbx_id)), live=_LIVE)


@account.patch("/pbxs/<int:pbx_id>")
@account.arguments(schemas.Pbx(partial=True))
@account.response(200, schemas.Pbx)
@changes("pbxs.change")
def change_pbx(session: Session, access: Access, data: dict[str, Any], pbx_id: int) -> Any:
    """Changes a PBX; the listener reconnects."""
    row = row_of(session, access, Pbx, pbx_id, changing=True)
    check_match(_PBX.dump(row), _LIVE)
    refuse_all(pbx_rules.change_pbx(session, access, row, _wanted(data)))
    return tagged(_PBX.dump(row), live=_LIVE)


@account.delete("/pbxs/<int:pbx_id>")
@account.response(204)
@changes("pbxs.change")
def remove_pbx(session: Session, access: Access, pbx_id: int) -> None:
    """Stops listening and deletes the PBX; its calls are kept."""
    row = row_of(session, access, Pbx, pbx_id)
    check_if_match(_PBX.dump(row), _LIVE)
    pbx_rules.delete_pbx(session, access, row)


@account.post("/pbxs/<int:pbx_id>/check")
@account.response(200, schemas.PbxFinding(many=True))
@needs("pbxs.change")
def check_pbx(pbx_id: int) -> Any:
    """Signs in to the PBX as the listener does; each finding says what is well, or what to do. Takes half a minute
    at most."""
    with reading_project() as (session, access):
        row = row_of(session, access, Pbx, pbx_id)
    return pbx_rules.check_pbx(access, row)


@account.get("/pbxs/<int:pbx_id>/contexts")
@account.response(200, schemas.StrangeContext(many=True))
@reads("account.read")
def contexts(session: Session, access: Access, pbx_id: int) -> Any:
    """Contexts that are not among `incoming_contexts`, though calls of strangers began in them today, the busiest
    first."""
    row = row_of(session, access, Pbx, pbx_id)
    return strange_contexts(session, row, now())


@account.get("/pbxs/<int:pbx_id>/dial-plan")
@account.response(200, schemas.DialPlan)
@reads("account.read")
def dial_plan(session: Session, access: Access, pbx_id: int) -> Any:
    """The rules for ordered calls."""
    row = row_of(session, access, Pbx, pbx_id)
    return tagged(_PLAN.dump(dial_plan_of(session, row.id)))


@account.patch("/pbxs/<int:pbx_id>/dial-plan")
@account.arguments(schemas.DialPlan(partial=True))
@account.response(200, schemas.DialPlan)
@changes("dial_plan.change")
def change_dial_plan(session: Session, access: Access, data: dict[str, Any], pbx_id: int) -> Any:
    """Changes these rules."""
    pbx = row_of(session, access, Pbx, pbx_id)
    plan = dial_plan_to_change(session, access, pbx)
    check_match(_PLAN.dump(plan))
    refuse_all(dial_plan_rules.change_dial_plan(session, access, pbx, plan, data))
    return tagged(_PLAN.dump(plan))


@account.get("/numbers")
@account.arguments(Paging, location="query")
@account.response(200, page_of(schemas.Number))
@reads("account.read")
def numbers(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The DIDs with their labels."""
    return _list(session, access, Number, wanted)


@account.post("/numbers")
@account.arguments(schemas.Number)
@account.response(201, schemas.Number)
@changes("numbers.change")
def add_number(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds a DID of one of the project's PBXs."""
    return tagged(schemas.Number().dump(accepted(save_number(session, access, None, data))), 201)


@account.patch("/numbers/<int:number_id>")
@account.arguments(schemas.Number(partial=True))
@account.response(200, schemas.Number)
@changes("numbers.change")
def change_number(session: Session, access: Access, data: dict[str, Any], number_id: int) -> Any:
    """Changes a DID or its label."""
    row = row_of(session, access, Number, number_id, changing=True)
    check_match(schemas.Number().dump(row))
    return tagged(schemas.Number().dump(accepted(save_number(session, access, row, data))))


@account.get("/numbers/<int:number_id>")
@account.response(200, schemas.Number)
@reads("account.read")
def number(session: Session, access: Access, number_id: int) -> Any:
    """One DID."""
    return tagged(schemas.Number().dump(row_of(session, access, Number, number_id)))


@account.delete("/numbers/<int:number_id>")
@account.response(204)
@changes("numbers.change")
def remove_number(session: Session, access: Access, number_id: int) -> None:
    """Deletes a DID; its future calls belong to the PBX's own project."""
    row = row_of(session, access, Number, number_id, changing=True)
    check_if_match(schemas.Number().dump(row))
    delete_number(session, access, row)


@account.get("/employees")
@account.arguments(Paging, location="query")
@account.response(200, page_of(schemas.Employee))
@reads("account.read")
def employees(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The cards of extensions."""
    return _list(session, access, Employee, wanted)


@account.post("/employees")
@account.arguments(schemas.Employee)
@account.response(201, schemas.Employee)
@changes("employees.change")
def add_employee(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds a card."""
    return tagged(schemas.Employee().dump(accepted(save_employee(session, access, None, data))), 201)


@account.get("/employees/<int:employee_id>")
@account.response(200, schemas.Employee)
@reads("account.read")
def employee(session: Session, access: Access, employee_id: int) -> Any:
    """One card."""
    return tagged(schemas.Employee().dump(row_of(session, access, Employee, employee_id)))


@account.patch("/employees/<int:employee_id>")
@account.arguments(schemas.Employee(partial=True))
@account.response(200, schemas.Employee)
@changes("employees.change")
def change_employee(session: Session, access: Access, data: dict[str, Any], employee_id: int) -> Any:
    """Changes a card."""
    row = row_of(session, access, Employee, employee_id, changing=True)
    check_match(schemas.Employee().dump(row))
    return tagged(schemas.Employee().dump(accepted(save_employee(session, access, row, data))))


@account.delete("/employees/<int:employee_id>")
@account.response(204)
@changes("employees.change")
def remove_employee(session: Session, access: Access, employee_id: int) -> None:
    """Deletes a card; the extension's calls are kept."""
    row = row_of(session, access, Employee, employee_id, changing=True)
    check_if_match(schemas.Employee().dump(row))
    delete_employee(session, access, row)


@account.get("/filters")
@account.response(200, page_of(schemas.SavedFilter))
@reads("account.read")
def filters(session: Session, access: Access) -> Any:
    """The saved filters of the project; those of its members are their own."""
    return {"items": [_filter(access, row) for row in saved_filters(session, access)], "next": None}


@account.post("/filters")
@account.arguments(schemas.SavedFilter)
@account.response(201, schemas.SavedFilter)
@changes("filters.change")
def add_filter(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Saves a filter for the project; one of the same name and list is replaced."""
    row = accepted(save_filter(session, access, data["page"], data["name"], data["fields"], shared=True))
    return _filter(access, row), {"Location": f"{request.script_root}/filters/{row.id}"}


@account.delete("/filters/<int:filter_id>")
@account.response(204)
@changes("filters.change")
def remove_filter(session: Session, access: Access, filter_id: int) -> None:
    """Deletes a saved filter of the project."""
    delete_filter(session, access, filter_of(session, access, filter_id))


def _wanted(data: dict[str, Any]) -> pbx_rules.PbxInput:
    contexts = data.pop("incoming_contexts", None)
    return pbx_rules.PbxInput(**data, incoming_contexts=None if contexts is None else tuple(contexts))


def _own(access: Access, project_id: int) -> Access:
    if access.project.id != project_id:
        refuse(404, "There is no such project for this key.")
    return access


def _list(session: Session, access: Access, kind: type[RowT], wanted: dict[str, Any]) -> Any:
    further = select(kind).where(kind.project_id == access.project.id, kind.id > id_after(wanted))
    rows = session.scalars(further.order_by(kind.id).limit(wanted["limit"] + 1)).all()
    return page(rows, wanted["limit"], lambda row: row.id)


def id_after(wanted: dict[str, Any]) -> int:
    """The id in ?after=; 0 on the first page."""
    text = wanted["after"]
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        wrong_field("after", "is not the key of a page; use `next` of the previous page")
    return int(text)


def _filter(access: Access, row: SavedFilter) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in ("id", "page", "name", "fields", "created_on")}
    return {**known, "url": access.hub.context.links.saved_filter(access.project.id, row.id)}
