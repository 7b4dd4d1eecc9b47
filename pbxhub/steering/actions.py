"""The actions on a waiting call, as read by answer.py and carried out by agi/."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """answer: answers the call; from now on it costs the caller money."""

    def __str__(self) -> str:
        return "answer"


@dataclass(frozen=True, slots=True)
class EndCall:
    """hangup: cause is Q.850, 16 normal, 17 busy, 21 rejected."""

    cause: int

    def __str__(self) -> str:
        return f"hang up with cause {self.cause}"


@dataclass(frozen=True, slots=True)
class Dial:
    """dial, forward: a number or an extension rings for timeout seconds. The following actions run when nobody
    answers."""

    number: str
    timeout: int
    caller_name: str = ""

    def __str__(self) -> str:
        shown = f", shown as {self.caller_name}" if self.caller_name else ""
        return f"dial {self.number} for {self.timeout} s{shown}"


@dataclass(frozen=True, slots=True)
class EnterQueue:
    """dial, forward with queue: the caller waits there for timeout seconds."""

    name: str
    timeout: int
    caller_name: str = ""

    def __str__(self) -> str:
        return f"queue {self.name} for {self.timeout} s"


@dataclass(frozen=True, slots=True)
class Play:
    """play: a sound of the PBX by its name without the ending, or one fetched from url."""

    file: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"play {self.file or self.url}"


@dataclass(frozen=True, slots=True)
class Say:
    """say: one digit after the other, or a number as a word."""

    kind: Literal["digits", "number"]
    text: str

    def __str__(self) -> str:
        return f"say {self.kind} {self.text}"


@dataclass(frozen=True, slots=True)
class ReadDigits:
    """read: keys the caller presses after a sound; they are additional_number of the next question."""

    file: str
    timeout: int
    attempts: int
    most: int

    def __str__(self) -> str:
        return f"read up to {self.most} digits, {self.attempts} attempts of {self.timeout} s"


@dataclass(frozen=True, slots=True)
class SetVariables:
    """set: channel variables; the dialplan finds NAME as HUB_NAME, so that none of Asterisk's own can be set."""

    variables: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "set " + ", ".join(f"{name}={value}" for name, value in self.variables)


@dataclass(frozen=True, slots=True)
class Music:
    """music: on hold, for so many seconds."""

    name: str
    seconds: int

    def __str__(self) -> str:
        return f"music {self.name} for {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Voicemail:
    """voicemail: mailbox 101 or 101@default."""

    mailbox: str

    def __str__(self) -> str:
        return f"voicemail {self.mailbox}"


@dataclass(frozen=True, slots=True)
class Redirect:
    """redirect: asks the caller's trunk to call that number instead (SIP 302, REFER once answered)."""

    number: str

    def __str__(self) -> str:
        return f"redirect to {self.number}"


@dataclass(frozen=True, slots=True)
class Goto:
    """goto: the dialplan continues in an allowed context."""

    context: str
    extension: str
    priority: int

    def __str__(self) -> str:
        return f"go to {self.context},{self.extension},{self.priority}"


@dataclass(frozen=True, slots=True)
class AskWebhook:
    """ask: another webhook of the project is asked what to do next."""

    webhook: str

    def __str__(self) -> str:
        return f"ask {self.webhook}"


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
    | AskWebhook
)
