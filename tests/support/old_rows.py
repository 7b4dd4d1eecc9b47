"""Much history, quickly: tables filled in SQL, their statistics left as they are."""

from sqlalchemy import text

from pbxhub.store.session import Database

FILLED = ("call", "stage_event", "delivery", "attempt", "event", "ordered_call", "question", "attributes")
_DAY = "timestamptz '2026-01-01 12:00Z'"
_OWN = "('0190' || lpad(to_hex(i), 28, '0'))::uuid"
_CALL = "('0190' || lpad(to_hex(i - i % 5), 28, '0'))::uuid"


def fill_postgresql(database: Database, project_id: int, pbx_id: int, webhook_id: int, number: int) -> None:
    """That many delivered rows of one webhook, each with its attempt and event; nobody gathers statistics of them."""
    numbers = f"generate_series(1, {number}) i"
    with database.write() as session:
        for table in FILLED:
            session.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        for statement in (
            f"""INSERT INTO call (id, project_id, pbx_id, linkedid, direction, caller, caller_name, dst, extension,
                started_on, ended_on, disposition, data, answers)
                SELECT {_CALL}, {project_id}, {pbx_id}, i, 'incoming', i, '', '101', '', {_DAY}, {_DAY}, 'ANSWERED',
                '{{}}', '{{}}' FROM generate_series(0, {number}) i WHERE i % 5 = 0""",
            f"""INSERT INTO stage_event (id, project_id, call_id, stage, key, ordinal, created_on, data)
                SELECT {_OWN}, {project_id}, {_CALL}, 'incoming.after', i, 1, {_DAY}, '{{}}' FROM {numbers}""",
            f"""INSERT INTO delivery (id, project_id, webhook_id, webhook_revision, stage_event_id, call_id,
                sequence_id, kind, state, lane, due_at, attempts, tries, held, out_of_order, method, url, headers,
                body, outcome, message, status_code, created_on, finished_on)
                SELECT {_OWN}, {project_id}, {webhook_id}, 1, {_OWN}, {_CALL}, {_CALL}, 'stage', 'delivered', 1,
                {_DAY}, 1, 1, false, false, 'POST', 'https://crm.example.com/calls', '[]', '', 'ok', '', 200, {_DAY},
                {_DAY} FROM {numbers}""",
            f"""INSERT INTO attempt (delivery_id, number, started_on, finished_on, outcome, message, status_code, peer,
                tls_version, request_headers, response_headers, response_body, response_truncated)
                SELECT {_OWN}, 1, {_DAY}, {_DAY}, 'ok', '', 200, '', '', '[]', '[]', '', false FROM {numbers}""",
            f"""INSERT INTO event (project_id, xid, call_id, type, created_on, data)
                SELECT {project_id}, 0, {_CALL}, 'webhook_called', {_DAY}, '{{}}' FROM {numbers}""",
            f"""INSERT INTO ordered_call (id, project_id, pbx_id, name, mobile_number, from_number, agent_id,
                callback_url, callback_headers, callback_params, custom, status, reason, transcript, analysis,
                created_on, ended_on)
                SELECT {_OWN}, {project_id}, {pbx_id}, '', i, '', '101', '', '{{}}', '{{}}', '{{}}', 'completed', '',
                'null', 'null', {_DAY}, {_DAY} FROM {numbers} WHERE i % 5 = 0""",
            f"""INSERT INTO question (delivery_id, line, steps, linkedid)
                SELECT {_OWN}, 0, '[]', '' FROM {numbers} WHERE i % 5 = 0""",
            f"""INSERT INTO attributes (id, project_id, number, valid_from, valid_until, values, created_on)
                SELECT {_OWN}, {project_id}, i, {_DAY}, {_DAY}, '{{}}', {_DAY} FROM {numbers} WHERE i % 5 = 0""",
        ):
            session.execute(text(statement))


def hold_one_in_twenty(database: Database) -> None:
    """Deliveries that wait for the stage before them."""
    held = "state = 'pending', held = true, outcome = '', attempts = 0, finished_on = NULL"
    with database.write() as session:
        session.execute(text(f"UPDATE delivery SET {held} WHERE get_byte(uuid_send(id), 15) % 20 = 0"))
