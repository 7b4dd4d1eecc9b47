"""PBXs with the incoming contexts of 0.1.0 as they were get the patterns that stand in their place."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NAMES = ["from-trunk", "from-pstn", "from-did-direct", "from-external"]
PATTERNS = [f"{name}*" for name in [*NAMES, "from-digital", "from-analog"]] + ["SIP-TRUNK-*-incoming"]


def upgrade() -> None:
    _replace(NAMES, PATTERNS)


def downgrade() -> None:
    _replace(PATTERNS, NAMES)


def _replace(old: list[str], new: list[str]) -> None:
    pbx = sa.table(
        "pbx", sa.column("id"), sa.column("incoming_contexts", sa.JSON().with_variant(JSONB(), "postgresql"))
    )
    connection = op.get_bind()
    for pbx_id, contexts in connection.execute(sa.select(pbx.c.id, pbx.c.incoming_contexts)).all():
        if contexts == old:
            connection.execute(sa.update(pbx).where(pbx.c.id == pbx_id).values(incoming_contexts=new))
