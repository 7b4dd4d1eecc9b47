"""What must hold after every step, whatever has gone wrong before."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pbxhub.delivery.outbox.lost_attempts import LONGEST_LEASE, MOST_LOST
from pbxhub.delivery.outbox.sequence import HOLD
from pbxhub.sending.outcomes import LOST
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING
from pbxhub.webhooks.retry import JITTER, delays_of
from pbxhub.webhooks.spec import WebhookSpec
from tests.support.simulation.network import AttemptName, Receivers
from tests.support.simulation.phone_calls import PlayedPbx
from tests.support.simulation.snapshot import AttemptRow, DeliveryRow, Snapshot

SECOND = 1_000_000
ENDED = (DELIVERED, FAILED)


class BrokenRuleError(BaseException):
    """The code under test has done what it never may. It catches every Exception."""


class Rules:
    """check() looks at one step, check_end() at what is left when everything has calmed down.

    excused: attempts whose worker was killed, frozen, stopped, or whose clock jumped: they may count as lost.
    """

    def __init__(self, specs: Mapping[int, WebhookSpec], receivers: Receivers, pbx: PlayedPbx) -> None:
        self._specs, self._receivers, self._pbx = specs, receivers, pbx
        self.excused: set[AttemptName] = set()
        self._once_lost: set[AttemptName] = set()
        self._left: set[AttemptName] = set()
        self._bodies: dict[str, bytes] = {}

    # --- what leaves

    def leaves(self, name: AttemptName, message_id: str, body: bytes, is_written: bool) -> None:
        if not is_written:
            raise BrokenRuleError(f"a request leaves before its attempt is written: {name}")
        if message_id.replace("-", "") != name[0]:
            raise BrokenRuleError(f"webhook-id is not that of the delivery: {message_id} of {name}")
        if name in self._left:
            raise BrokenRuleError(f"one attempt leaves twice: {name}")
        if self._bodies.setdefault(name[0], body) != body:
            raise BrokenRuleError(f"a delivery is sent with another body: {name}")
        self._left.add(name)

    # --- what is written

    def check(self, before: Snapshot, after: Snapshot) -> None:
        for sentence in self._broken(before, after):
            raise BrokenRuleError(sentence)

    def _broken(self, before: Snapshot, after: Snapshot) -> Iterator[str]:
        yield from self._vanished(before, after)
        if len(after.stages) != len(before.stages):
            yield from self._wrong_stages(before, after)
        new = [row for name, row in after.attempts.items() if name not in before.attempts]
        for attempt in new:
            yield from self._wrong_claim(attempt, before, after)
        for name, attempt in after.attempts.items():
            if (old := before.attempts.get(name)) not in (None, attempt):
                yield from self._wrong_end(name, old, attempt)
        for name, row in after.deliveries.items():
            if before.deliveries.get(name) != row:
                yield from self._wrong_state(before.deliveries.get(name), row, after)

    def _vanished(self, before: Snapshot, after: Snapshot) -> Iterator[str]:
        for what, old, new in (
            ("delivery", before.deliveries.keys(), after.deliveries.keys()),
            ("attempt", before.attempts.keys(), after.attempts.keys()),
        ):
            if gone := old - new:
                yield f"a {what} is gone: {sorted(gone)[0]}"

    def _wrong_stages(self, before: Snapshot, after: Snapshot) -> Iterator[str]:
        if after.stages[: len(before.stages)] != before.stages:
            yield f"stages are gone, or in another order: {before.stages}, {after.stages}"
        told: dict[int, list[tuple[str, str, str]]] = {}
        for row in after.stages:
            told.setdefault(self._pbx.number_of(row.linkedid), []).append(row[1:])
        for number, stages in told.items():
            expected = self._pbx.expected[number]
            if self._pbx.calls[number].heard_whole and expected[: len(stages)] != stages:
                yield f"call {number} was heard as a whole, and its stages are not {expected[: len(stages)]}: {stages}"
            extra = Counter(map(_plain, stages)) - Counter(map(_plain, expected))
            if extra:
                yield f"call {number} has stages that never were: {sorted(extra)}"
        yield from self._wrong_deliveries(before, after)

    def _wrong_deliveries(self, before: Snapshot, after: Snapshot) -> Iterator[str]:
        """For each new stage one delivery of each webhook that waits for it."""
        made = Counter((row.stage_event_id, row.webhook_id) for row in after.deliveries.values() if row.kind == "stage")
        known = {row.id for row in before.stages}
        for row in after.stages:
            for webhook_id, stage in self._receivers.stages.items():
                if row.id not in known and stage == row.stage and made[row.id, webhook_id] != 1:
                    yield f"{made[row.id, webhook_id]} deliveries of webhook {webhook_id} for {row}"

    def _wrong_claim(self, attempt: AttemptRow, before: Snapshot, after: Snapshot) -> Iterator[str]:
        row, old = after.deliveries[attempt.delivery_id], before.deliveries.get(attempt.delivery_id)
        spec = self._specs[row.webhook_id]
        if before.paused.get(row.webhook_id):
            yield f"sent although its webhook is paused: {attempt}"
        if row.due_at - attempt.started_on < spec.limits.deadline * SECOND:
            yield f"its lease is shorter than its request may take: {attempt}"
        if old and (old.state != PENDING or (old.due_at > attempt.started_on and not old.held)):
            yield f"claimed before it was due, or while another one holds it: {attempt}, was {old}"
        yield from self._too_soon(attempt, row, spec, after)
        now = attempt.started_on
        flying = sum(
            one.claim_token is not None and one.due_at > now and one.webhook_id == row.webhook_id
            for one in after.deliveries.values()
        )
        if flying > spec.limits.in_flight:
            yield f"{flying} requests of webhook {row.webhook_id} at once"
        if row.attempts == 1:
            yield from self._out_of_turn(attempt, row, after)

    def _too_soon(
        self, attempt: AttemptRow, row: DeliveryRow, spec: WebhookSpec, after: Snapshot
    ) -> Iterator[str]:  # fmt: skip
        last = after.attempts.get((attempt.delivery_id, attempt.number - 1))
        if last is None or last[:2] in self._once_lost or last.outcome == LOST or last.finished_on is None:
            return
        delays = delays_of(spec.retry)
        if row.tries > len(delays):
            yield f"tried too often: {row}"
            return
        delay = delays[row.tries - 1] * (1 - JITTER) if row.tries else 0
        if attempt.started_on - last.finished_on < delay * SECOND:
            yield f"tried again {(attempt.started_on - last.finished_on) / SECOND} s after {last}, not {delay} s"

    def _out_of_turn(self, attempt: AttemptRow, row: DeliveryRow, after: Snapshot) -> Iterator[str]:
        for other in after.deliveries.values():
            if other.id >= row.id:
                return
            if (other.webhook_id, other.sequence_id) != (row.webhook_id, row.sequence_id):
                continue
            if other.state == PENDING and not other.outcome:
                flying = after.attempts.get((other.id, other.attempts))
                waited = flying and attempt.started_on - flying.started_on >= HOLD.total_seconds() * SECOND
                if not (row.out_of_order and waited):
                    yield f"sent before the one ahead: {row} before {other}"

    def _wrong_end(self, name: AttemptName, old: AttemptRow | None, new: AttemptRow) -> Iterator[str]:
        assert old
        if old.finished_on is not None and old.outcome != LOST:
            yield f"an attempt that had ended ends again: {old}, {new}"
        if new.outcome == LOST:
            self._once_lost.add(name)
            if name not in self.excused:
                yield f"an attempt counts as lost although its worker lives: {new}"
        elif (answer := self._receivers.answered.get(name)) is None or answer.outcome != _said(new.outcome):
            yield f"recorded what nobody answered: {new}, answered {answer}"

    def _wrong_state(self, old: DeliveryRow | None, row: DeliveryRow, after: Snapshot) -> Iterator[str]:
        if old and old.state in ENDED and old != row:
            yield f"a delivery that had ended changes: {old}, {row}"
        numbers = [number for delivery_id, number in after.attempts if delivery_id == row.id]
        if sorted(numbers) != list(range(1, row.attempts + 1)):
            yield f"{row} has the attempts {numbers}"
        if row.tries > 1 + len(delays_of(self._specs[row.webhook_id].retry)):
            yield f"tried too often: {row}"
        last = after.attempts.get((row.id, row.attempts))
        if row.state == DELIVERED and (last is None or "ok" not in self._outcomes(row, after)):
            yield f"delivered without an answer: {row}"
        if row.state == FAILED and not self._may_fail(row, after):
            yield f"given up too early: {row}"

    def _outcomes(self, row: DeliveryRow, after: Snapshot) -> set[str]:
        return {attempt.outcome for (delivery_id, _), attempt in after.attempts.items() if delivery_id == row.id}

    def _may_fail(self, row: DeliveryRow, after: Snapshot) -> bool:
        if row.outcome == LOST:
            last = range(row.attempts - MOST_LOST + 1, row.attempts + 1)
            return all(after.attempts[row.id, number].outcome == LOST for number in last)
        used_up = row.tries == 1 + len(delays_of(self._specs[row.webhook_id].retry))
        return used_up or row.outcome in ("http_4xx", "gone")

    # --- the end

    def check_leases(self, now: Snapshot, time: float) -> None:
        """When all clocks are right again, nothing waits for the end of a lease longer than for the longest request."""
        for row in now.deliveries.values():
            if row.claim_token and row.due_at / 1e6 > time + LONGEST_LEASE.total_seconds():
                raise BrokenRuleError(f"a lease of a wrong clock: {row}")

    def check_end(self, last: Snapshot, called: Mapping[AttemptName, int], told: Mapping[str, int]) -> None:
        for sentence in self._broken_at_the_end(last, called, told):
            raise BrokenRuleError(sentence)

    def _broken_at_the_end(
        self, last: Snapshot, called: Mapping[AttemptName, int], told: Mapping[str, int]
    ) -> Iterator[str]:
        for row in last.deliveries.values():
            if row.state not in ENDED:
                yield f"a delivery never ends: {row}"
        if last.open_calls:
            yield f"calls never end: {last.open_calls}"
        for row in last.stages:
            if told.get(row.id) != 1:
                yield f"{told.get(row.id)} events report {row}"
        for name, attempt in last.attempts.items():
            wanted = 0 if attempt.outcome == LOST else 1
            if called.get(name, 0) < wanted or called.get(name, 0) > 1:
                yield f"{called.get(name)} events report {attempt}"
        yield from self._lost_stages(last)
        yield from self._lost_chains(last)

    def _lost_stages(self, last: Snapshot) -> Iterator[str]:
        told: dict[int, list[tuple[str, str, str]]] = {}
        for row in last.stages:
            told.setdefault(self._pbx.number_of(row.linkedid), []).append(row[1:])
        for number, expected in enumerate(self._pbx.expected):
            stages = told.get(number, [])
            if self._pbx.calls[number].heard_whole and stages != expected:
                yield f"call {number} was heard as a whole, and has not {expected} but {stages}"
            ends = {(linkedid, name.partition(".")[0]) for linkedid, name, _ in stages if name.endswith(".after")}
            for linkedid, name, _ in stages:
                if (linkedid, name.partition(".")[0]) not in ends:
                    yield f"call {number} has {name} and no end: {stages}"

    def _lost_chains(self, last: Snapshot) -> Iterator[str]:
        chained = {row.stage_event_id for row in last.deliveries.values() if row.kind == "chain"}
        for row in last.deliveries.values():
            spec = self._specs[row.webhook_id]
            if spec.on_success and row.state == DELIVERED and row.stage_event_id not in chained:
                yield f"nothing follows {row}"


def _plain(stage: tuple[str, str, str]) -> tuple[str, str, str]:
    linkedid, name, key = stage
    return linkedid, name, key.partition("#")[0]


def _said(outcome: str) -> str:
    """The receiver's outcome behind a recorded one."""
    return "http_4xx" if outcome in ("gone", "http_429") else outcome
