"""The demo's project: a PBX, employees, numbers, and one webhook per moment and format."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pbxhub.store.accounts import COMMON_FOLDER, Employee, Number, Pbx, Project
from pbxhub.store.new_projects import add_project
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Field, Filter, Parameter, RequestSpec, Retry, WebhookSpec

NAME = "Demo"
PBX = "Built-in PBX"
EMPLOYEES = (
    ("101", "Olena Kovalenko", "olena@example.com", "Sales", "17"),
    ("102", "Taras Melnyk", "taras@example.com", "Sales", "18"),
    ("103", "Iryna Bondar", "iryna@example.com", "Support", "19"),
)
NUMBERS = (("5550100", "Main line"), ("5550103", "Support queue"), ("5550109", "Recorded line"))


def _text(name: str, value: str) -> Parameter:
    return Parameter(name, "text", value)


_CONTACT = Parameter(
    "contact",
    "object",
    children=(
        _text("phone", "<<caller_e164>>"),
        _text("name", "<<caller_name>>"),
        Parameter("phone_sha256", "sha256", "<<caller|digits>>"),
    ),
)
_EMPLOYEE = Parameter(
    "employee",
    "object",
    children=(
        _text("extension", "<<extension>>"),
        _text("name", "<<employee_name>>"),
        _text("id", "<<manager_id>>"),
    ),
)
_STARTED = RequestSpec(
    url="/crm/call-started",
    parameters=(_text("call", "<<call_id>>"), _CONTACT, _text("line", "<<n_alias>>")),
)
_POPUP = RequestSpec(
    method="GET",
    url="/popup/<<forward_to>>",
    format="none",
    query=(Field("phone", "<<caller>>"), Field("line", "<<dst>>"), Field("how", "<<forward_kind>>")),
)
_CLOSE_POPUP = RequestSpec(
    method="GET",
    url="/popup/<<extension>>/close",
    format="none",
    query=(Field("phone", "<<caller>>"), Field("how", "<<ring_status>>")),
)
_CHAT = RequestSpec(
    url="/chat",
    parameters=(_text("text", "<<employee_name|default:Somebody>> talks with <<caller>> <<caller_name>>"),),
)
_FINISHED = RequestSpec(
    url="/crm/call-finished",
    parameters=(
        _text("call", "<<call_id>>"),
        _CONTACT,
        _EMPLOYEE,
        _text("status", "<<disposition>>"),
        _text("started", "<<calldate>>"),
        _text("talk_seconds", "<<billsec>>"),
        _text("recording", "<<recording_file>>"),
    ),
)
_MISSED = RequestSpec(
    url="/analytics/missed",
    format="form",
    parameters=(_text("phone", "<<caller>>"), _text("status", "<<disposition>>"), _text("waited", "<<waittime>>")),
)
_OUTGOING = RequestSpec(
    url="/crm/outgoing",
    parameters=(_text("to", "<<dst>>"), _EMPLOYEE, _text("status", "<<disposition>>")),
)
_BROKEN = RequestSpec(url="/broken/old-crm", parameters=(_text("phone", "<<caller>>"),))
_IS_MISSED = (Filter("is_missed", "equals", "true"),)
_WEBHOOKS = (
    ("CRM: a call comes in", "incoming.before", WebhookSpec(_STARTED)),
    ("Pop-up at the employee's screen", "incoming.forward", WebhookSpec(_POPUP)),
    ("Close the pop-up: the phone stopped ringing", "incoming.unring", WebhookSpec(_CLOSE_POPUP)),
    ("Chat: who talks with whom", "incoming.pickup", WebhookSpec(_CHAT)),
    ("CRM: a call is over", "incoming.after", WebhookSpec(_FINISHED)),
    ("Analytics: missed calls", "incoming.after", WebhookSpec(_MISSED, filters=_IS_MISSED)),
    ("CRM: an outgoing call is over", "outgoing.after", WebhookSpec(_OUTGOING)),
    ("Old CRM (answers 500)", "incoming.after", WebhookSpec(_BROKEN, retry=Retry("fast"))),
)
"""One webhook per moment and format, so that the table shows what is possible: name, stage, and what it sends, to paths
of the receiver."""

_BUILT_IN = select(Pbx).where(Pbx.name == PBX, Pbx.host == "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the built-in PBX listens, its user and password, and the receiver's address."""

    ami_port: int
    ami_username: str
    ami_secret: str
    receiver_url: str


def prepare_demo(session: Session, vault: Vault, endpoints: Endpoints, now: datetime) -> Project:
    """Creates the demo project on the first start; later starts only update the address of its PBX."""
    pbx = session.scalars(_BUILT_IN).first() or _make(session, endpoints, now)
    pbx.port = endpoints.ami_port
    pbx.username = endpoints.ami_username
    pbx.secret_sealed = vault.seal(endpoints.ami_secret)
    pbx.enabled = True
    return pbx.project


def retire_demo(session: Session) -> None:
    """Disables the built-in PBX. Without --demo it does not run, and the listener must not try to connect to it."""
    session.execute(update(Pbx).where(Pbx.name == PBX, Pbx.host == "127.0.0.1").values(enabled=False))


def _make(session: Session, endpoints: Endpoints, now: datetime) -> Pbx:
    project = Project(name=NAME, country="UA", created_on=now)
    pbx = Pbx(
        project=project, name=PBX, host="127.0.0.1", any_network=True, recordings=COMMON_FOLDER, username="",
        secret_sealed="", created_on=now,
    )  # fmt: skip
    add_project(session, project)
    session.add(pbx)
    session.flush()
    session.add_all(
        Employee(project_id=project.id, extension=extension, name=name, email=email, department=department, crm_id=crm)
        for extension, name, email, department, crm in EMPLOYEES
    )
    session.add_all(Number(project_id=project.id, pbx_id=pbx.id, did=did, label=label) for did, label in NUMBERS)
    session.add_all(
        Webhook(
            project_id=project.id,
            name=name,
            stage=stage,
            position=position,
            spec=_sent_to(endpoints.receiver_url, spec),
            created_on=now,
        )
        for position, (name, stage, spec) in enumerate(_WEBHOOKS, start=1)
    )
    touch_webhooks(session, project.id)
    return pbx


def _sent_to(receiver: str, spec: WebhookSpec) -> WebhookSpec:
    return replace(spec, request=replace(spec.request, url=f"{receiver}{spec.request.url}"))
