"""What every new project has from the beginning."""

from sqlalchemy.orm import Session

from pbxhub.store.accounts import Project


def add_project(session: Session, project: Project) -> None:
    """Adds a project with its locked event: after the call → Google Analytics, switched off until its ids are
    entered."""
    from pbxhub.store.webhooks import Webhook, remember_version
    from pbxhub.webhooks.gallery import default_event

    session.add(project)
    session.flush()
    ready = default_event().webhooks[0]
    webhook = Webhook(
        project_id=project.id, name=ready.name, stage=ready.stage, enabled=False, locked=True, position=0,
        spec=ready.spec, created_on=project.created_on,
    )  # fmt: skip
    session.add(webhook)
    session.flush()
    remember_version(session, webhook, None, project.created_on)
