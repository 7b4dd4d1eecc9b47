"""Draws a script from a seed: a random sequence of what people do with calls, each step chosen from the sensible ones.

It uses a simple model of the call (who rings, who talks). What really happens on the PBX is what the phones see.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from random import Random

from pbxhub.testing.random_calls.script import Act, Script

EMPLOYEES = ("e1", "e2", "e3", "e4", "e5", "e6")
MEMBERS = ("e1", "e2", "e3")  # members of the queue and of the ring group
_Holder = Generator[Act, None, str]
_WITH_VOICEMAIL = ("e3", "e5")  # voicemail answers for them, even when the PBX calls them for a click-to-call
_REFUSALS = ("486 Busy Here", "486 Busy Here", "603 Decline", "480 Temporarily Unavailable")


def draw(seed: int, number: int, freepbx: bool, off: Collection[str] = ()) -> Script:
    """The script of this seed and number; always the same. off: kinds of calls to leave out (see kinds())."""
    for attempt in range(1000):
        random = Random(f"{seed}/{number}/{attempt}")  # noqa: S311 - it must be repeatable
        script = Script(f"{seed}-{number}", tuple(_Walk(random, freepbx).acts()))
        if not kinds(script).intersection(off):
            return script
    raise ValueError(f"nothing is left to draw without {', '.join(sorted(off))}")


def kinds(script: Script) -> set[str]:
    """The kinds of this call, each of which can be left out: how it begins, what is done and how, and how it ends."""
    first = next(act for act in script.acts if act.verb != "set")
    found = {f"{first.verb} {_group(first.to)}"}
    for act in script.acts:
        if act.verb in ("blind", "consult", "park", "pickup", "set") or act == Act("hang_up", act.who, how="code"):
            found.add(f"{act.verb} {act.how}")
        if act.verb in ("blind", "consult", "divert"):
            found.add(f"{act.verb} to {_group(act.to)}")
        if act.verb in ("hold", "retrieve", "come_back", "abort"):
            found.add(act.verb)
    found |= {f"{before.verb}, then {act.verb}" for before, act in zip(script.acts, script.acts[1:], strict=False)}
    if first.verb in ("dial", "order") and any(act.verb in ("blind", "consult", "park") for act in script.acts):
        found.add("out, then sent on")
    return found


def _group(role: str) -> str:
    """The group of a role: e for e1 to e6, m for m1 to m3."""
    return role.rstrip("0123456789")


class _Walk:
    def __init__(self, random: Random, freepbx: bool) -> None:
        self.random, self.freepbx = random, freepbx
        self.busy: set[str] = set()  # the roles on the call

    def acts(self) -> Iterator[Act]:
        begin = self.random.choices((self._incoming, self._outgoing, self._ordered, self._internal), (14, 4, 2, 2))[0]
        yield from begin()

    # ---------------------------------------------------------------- beginnings

    def _incoming(self) -> Iterator[Act]:
        target = self._one((*EMPLOYEES, *EMPLOYEES, "queue", "queue", "group", "group", "menu", "followme"))
        if self.freepbx and target in ("e5", "e6") and self._chance(0.5):
            yield from self._sent_on(target)
            return
        yield Act("call", "c", target, self._one(("main", "main", "second")))
        if target == "menu":
            target = self._one(("e1", "queue", "group", ""))
            yield Act("press", "c", how={"e1": "1", "queue": "2", "group": "3", "": "9"}[target])
            if not target:
                yield Act("ring_out")
                return
        holder = yield from self._ringing(target, "c")
        if holder:
            yield from self._talking(holder, "c")

    def _sent_on(self, target: str) -> Iterator[Act]:
        how, to = self._one(("CF", "CFB", "CFU")), self._one(("e1", "m1"))
        self.busy.add(target)  # whoever is sent there later would be sent on as well
        yield Act("set", target, to, how)
        yield Act("call", "c", target, "main")
        if how == "CFB":
            yield Act("refuse", target, how="486 Busy Here")
        elif how == "CFU":
            yield Act("ring_out", target)
        holder = yield from self._ringing(to, "c")
        if holder:
            yield from self._talking(holder, "c")

    def _outgoing(self) -> Iterator[Act]:
        who = self._one(EMPLOYEES)
        self.busy.add(who)
        yield Act("dial", who, "m1", self._one(("main", "main", "main", "second")))
        if (yield from self._ringing("m1", who)):
            yield from self._talking(who, "m1")

    def _ordered(self) -> Iterator[Act]:
        who = self._one([who for who in self._plain_phones() if who not in _WITH_VOICEMAIL])
        self.busy.add(who)
        yield Act("order", who, "m1", self._one(("phone", "local")))
        if self._chance(0.15):
            yield Act("refuse", who, how="486 Busy Here")
            return
        yield Act("answer", who)
        if (yield from self._ringing("m1", who)):
            yield from self._talking(who, "m1")

    def _internal(self) -> Iterator[Act]:
        who, to = self.random.sample(self._plain_phones(), 2)
        self.busy.add(who)
        yield Act("dial", who, to)
        if not (yield from self._ringing(to, who, simple=True)):
            return
        if self._chance(0.4):
            yield Act("blind", to, "m1", self._means())
            self.busy.discard(to)
            yield from self._ringing("m1", who, simple=True)
        yield Act("talk", how="0.5")
        yield Act("hang_up", who)

    # ---------------------------------------------------------------- it rings

    def _ringing(self, target: str, waits: str, simple: bool = False) -> _Holder:
        """The role that answers, or none. waits: the role that hears it ring."""
        members: tuple[str, ...] = (
            MEMBERS if target in ("queue", "group") else ("e4", "m9") if target == "followme" else (target,)
        )
        members = tuple(member for member in members if member not in self.busy) or members
        chosen = self._one(members)
        odds = (60, 8, 8, 8) if simple else (60, 6, 8, 7, 5, 5)
        choice = self.random.choices(
            ("answer", "ring_out", "refuse", "give_up", "divert", "pickup")[: len(odds)], odds
        )[0]
        outside = target.startswith("m")
        if choice in ("divert", "pickup") and (outside or chosen.startswith("m")):
            choice = "answer"
        if choice == "answer":
            others = [member for member in members if member != chosen]
            if others and self._chance(0.25):
                yield Act("refuse", self._one(others), how=self._one(_REFUSALS))
            yield Act("answer", chosen)
            self.busy.add(chosen)
            return chosen
        if choice == "pickup":
            taker = self._free(avoid=(*MEMBERS, *members))
            yield Act("pickup", taker, chosen, self._one(("*8", "**")))
            self.busy.add(taker)
            return taker
        if choice == "divert":
            to = self._one((self._free(avoid=(*members, *MEMBERS)), "m2"))
            yield Act("divert", chosen, to)
            if self._chance(0.75):
                yield Act("answer", to)
                self.busy.add(to)
                return to
            yield Act("refuse", to, how=self._one(_REFUSALS))
        elif choice == "refuse":
            for member in members:
                yield Act("refuse", member, how=self._one(_REFUSALS))
        elif choice == "give_up":
            yield Act("talk", how="0.5")
            yield Act("hang_up", waits)
            return ""
        yield Act("ring_out")
        return ""

    # ---------------------------------------------------------------- they talk

    def _talking(self, holder: str, other: str) -> Iterator[Act]:
        past: list[str] = []
        for _ in range(self.random.choices((0, 1, 2, 3), (30, 40, 20, 10))[0]):
            step = self._one(("hold", "blind", "blind", "consult", "consult", "park"))
            if holder.startswith("m"):
                break  # an outside party cannot transfer
            if step == "hold":
                yield Act("hold", holder)
                continue
            before = holder
            move = {"blind": self._blind, "consult": self._consult, "park": self._park}[step]
            holder = yield from move(holder, other, past)
            if not holder:
                return
            if holder != before:
                past.append(before)
        yield Act("talk", how=self._one(("0.3", "0.8", "1.5")))
        who = self._one((other, holder))
        by_code = not who.startswith("m") and self._chance(0.15)
        yield Act("hang_up", who, how="code" if by_code else "")

    def _blind(self, holder: str, other: str, past: Sequence[str]) -> _Holder:
        to = self._target(past)
        yield Act("blind", holder, to, self._means())
        self.busy.discard(holder)
        return (yield from self._ringing(to, other))

    def _consult(self, holder: str, other: str, past: Sequence[str]) -> _Holder:
        to = self._target(past)
        means = self._means()
        yield Act("consult", holder, to, means)
        members = tuple(member for member in MEMBERS if member not in self.busy)
        taker = to if to not in ("queue", "group") else self._one(members or MEMBERS)
        follows = self.freepbx and to == "e4"  # e4's follow-me also rings an outside number, as a group does
        if taker == to and not follows and self._chance(0.2):
            yield Act("complete", holder)
            self.busy.discard(holder)
            if means == "code":  # Asterisk would call the holder back if nobody answered
                yield Act("answer", to)
                self.busy.add(to)
                return to
            return (yield from self._ringing(to, other, simple=True))
        if self._chance(0.12):
            yield Act("refuse", taker, how="486 Busy Here")
            yield Act("abort", holder)
            return holder
        yield Act("answer", taker)
        yield Act("talk", how="0.3")
        if self._chance(0.25):
            yield Act("abort", holder)
            return holder
        yield Act("complete", holder)
        self.busy.discard(holder)
        self.busy.add(taker)
        return taker

    def _park(self, holder: str, other: str, past: Sequence[str]) -> _Holder:
        yield Act("park", holder, how=self._means())
        self.busy.discard(holder)
        choice = self.random.choices(("retrieve", "come_back", "give_up"), (70, 20, 10))[0]
        if choice == "retrieve":
            taker = self._free()
            yield Act("talk", how="0.3")
            yield Act("retrieve", taker)
            self.busy.add(taker)
            return taker
        if choice == "come_back":
            yield Act("come_back", holder)
            yield Act("answer", holder)
            self.busy.add(holder)
            return holder
        yield Act("talk", how="0.3")
        yield Act("hang_up", other)
        return ""

    # ---------------------------------------------------------------- choices

    def _target(self, past: Sequence[str]) -> str:
        back = [who for who in past[-1:] if who not in self.busy and who.startswith("e")]
        return self._one([self._free(), self._free(), "queue", "group", self._one(("m2", "m3")), *back])

    def _free(self, avoid: Collection[str] = ()) -> str:
        free = [who for who in EMPLOYEES if who not in self.busy]
        return self._one([who for who in free if who not in avoid] or free)

    def _plain_phones(self) -> Sequence[str]:
        """The phones without follow-me, which would make an internal call an outgoing one as well."""
        return [who for who in EMPLOYEES if not (self.freepbx and who == "e4")]

    def _means(self) -> str:
        return self._one(("refer", "code"))

    def _one(self, choices: Sequence[str]) -> str:
        return self.random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share
