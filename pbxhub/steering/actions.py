"""The actions on a waiting call: answer.py reads them, agi/ carries them out. The text of an action is a Sentence."""

from dataclasses import dataclass
from typing import Literal

from pbxhub.steering.dialplan_text import variable_text
from pbxhub.translatable import Sentence, say


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """answer: answers the call; from then on the caller pays for it."""

    def __str__(self) -> Sentence:
        return say("answer")


@dataclass(frozen=True, slots=True)
class EndCall:
    """hangup: cause is a Q.850 code: 16 normal, 17 busy, 21 rejected."""

    cause: int

    def __str__(self) -> Sentence:
        return say("hang up with cause %(cause)s", cause=self.cause)


@dataclass(frozen=True, slots=True)
class Dial:
    """dial, forward: rings a number or an extension for timeout seconds. The following actions run if nobody
    answers."""

    number: str
    timeout: int
    caller_name: str = ""

    def __str__(self) -> Sentence:
        if self.caller_name:
            return say("dial %(number)s for %(seconds)s s, shown as %(name)s", number=self.number,
                       seconds=self.timeout, name=self.caller_name)  # fmt: skip
        return say("dial %(number)s for %(seconds)s s", number=self.number, seconds=self.timeout)


@dataclass(frozen=True, slots=True)
class EnterQueue:
    """dial, forward with queue: the caller waits in the queue for at most timeout seconds."""

    name: str
    timeout: int
    caller_name: str = ""

    def __str__(self) -> Sentence:
        return say("queue %(name)s for %(seconds)s s", name=self.name, seconds=self.timeout)


@dataclass(frozen=True, slots=True)
class Play:
    """play: a sound file of the PBX, named without its extension, or one fetched from url."""

    file: str = ""
    url: str = ""

    def __str__(self) -> Sentence:
        return say("play %(sound)s", sound=self.file or self.url)


@dataclass(frozen=True, slots=True)
class Say:
    """say: reads out single digits, or a whole number."""

    kind: Literal["digits", "number"]
    text: str

    def __str__(self) -> Sentence:
        if self.kind == "digits":
            return say("say digits %(text)s", text=self.text)
        return say("say number %(text)s", text=self.text)


@dataclass(frozen=True, slots=True)
class ReadDigits:
    """read: plays a sound and reads the keys that the caller presses; the next question has them as
    additional_number."""

    file: str
    timeout: int
    attempts: int
    most: int

    def __str__(self) -> Sentence:
        return say("read up to %(most)s digits, %(attempts)s attempts of %(seconds)s s", most=self.most,
                   attempts=self.attempts, seconds=self.timeout)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SetVariables:
    """set: sets channel variables. NAME becomes HUB_NAME in the dialplan, so that Asterisk's own cannot be changed."""

    variables: tuple[tuple[str, str], ...]

    def __str__(self) -> Sentence:
        told = ", ".join(f"HUB_{name}={variable_text(value)}" for name, value in self.variables)
        return say("set %(variables)s", variables=told)


@dataclass(frozen=True, slots=True)
class Music:
    """music: plays music on hold for that many seconds."""

    name: str
    seconds: int

    def __str__(self) -> Sentence:
        return say("music %(name)s for %(seconds)s s", name=self.name, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Voicemail:
    """voicemail: records a message in a mailbox, 101 or 101@default."""

    mailbox: str

    def __str__(self) -> Sentence:
        return say("voicemail %(mailbox)s", mailbox=self.mailbox)


@dataclass(frozen=True, slots=True)
class Redirect:
    """redirect: asks the caller's trunk to call that number instead (SIP 302, REFER once answered)."""

    number: str

    def __str__(self) -> Sentence:
        return say("redirect to %(number)s", number=self.number)


@dataclass(frozen=True, slots=True)
class Goto:
    """goto: continues the dialplan in an allowed context."""

    context: str
    extension: str
    priority: int

    def __str__(self) -> Sentence:
        return say("go to %(place)s", place=f"{self.context},{self.extension},{self.priority}")


@dataclass(frozen=True, slots=True)
class PauseMember:
    """pause, unpause: a queue member, PJSIP/101, gets no calls of the queue, or of all queues when none is named.
    PBXHUB_PAUSE has the result in the dialplan: PAUSED, UNPAUSED or NOTFOUND."""

    member: str
    queue: str
    paused: bool
    reason: str = ""

    def __str__(self) -> Sentence:
        queue = self.queue or say("all queues")
        if self.paused:
            return say("pause %(member)s in %(queue)s", member=self.member, queue=queue)
        return say("unpause %(member)s in %(queue)s", member=self.member, queue=queue)


@dataclass(frozen=True, slots=True)
class AskWebhook:
    """ask: asks another webhook of the project what to do next."""

    webhook: str

    def __str__(self) -> Sentence:
        return say("ask %(webhook)s", webhook=self.webhook)


Action = (
    AnswerCall
    | EndCall
    | Dial
    | EnterQueue
    | Play
    | Say
    | ReadDigits
    | SetVariables
    | Music
    | Voicemail
    | Redirect
    | Goto
    | PauseMember
    | AskWebhook
)
