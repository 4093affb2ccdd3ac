"""Who holds the floor. A pure step function over a literal table: (floor, event) -> (floor, commands).

An event that is not in the table for the present floor changes nothing. `diagram()` draws the table.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Floor(StrEnum):
    IDLE = "idle"
    HEARING = "hearing"
    ENDPOINT = "endpoint"
    THINKING = "thinking"
    SPEAKING = "speaking"


class Event(StrEnum):
    USER_SPOKE = "user spoke"
    USER_STOPPED = "user stopped"
    TRANSCRIBED = "transcribed"
    NOTHING_SAID = "nothing said"
    USER_TYPED = "user typed"
    REPLY_AUDIBLE = "reply audible"
    REPLY_ENDED = "reply ended"
    STOP = "stop"


class Command(StrEnum):
    TRANSCRIBE = "transcribe"
    DROP_UTTERANCE = "drop utterance"
    START_REPLY = "start reply"
    CANCEL_REPLY = "cancel reply"


_F, _E, _C = Floor, Event, Command

TABLE: dict[Floor, dict[Event, tuple[Floor, tuple[Command, ...]]]] = {
    _F.IDLE: {
        _E.USER_SPOKE: (_F.HEARING, ()),
        _E.USER_TYPED: (_F.THINKING, (_C.START_REPLY,)),
    },
    _F.HEARING: {
        _E.USER_STOPPED: (_F.ENDPOINT, (_C.TRANSCRIBE,)),
        _E.USER_TYPED: (_F.THINKING, (_C.DROP_UTTERANCE, _C.START_REPLY)),
        _E.STOP: (_F.IDLE, (_C.DROP_UTTERANCE,)),
    },
    _F.ENDPOINT: {
        _E.USER_SPOKE: (_F.HEARING, ()),
        _E.TRANSCRIBED: (_F.THINKING, (_C.START_REPLY,)),
        _E.NOTHING_SAID: (_F.IDLE, ()),
        _E.USER_TYPED: (_F.THINKING, (_C.DROP_UTTERANCE, _C.START_REPLY)),
        _E.STOP: (_F.IDLE, (_C.DROP_UTTERANCE,)),
    },
    _F.THINKING: {
        _E.REPLY_AUDIBLE: (_F.SPEAKING, ()),
        _E.REPLY_ENDED: (_F.IDLE, ()),
        _E.USER_SPOKE: (_F.HEARING, (_C.CANCEL_REPLY,)),
        _E.USER_TYPED: (_F.THINKING, (_C.CANCEL_REPLY, _C.START_REPLY)),
        _E.STOP: (_F.IDLE, (_C.CANCEL_REPLY,)),
    },
    _F.SPEAKING: {
        _E.REPLY_ENDED: (_F.IDLE, ()),
        _E.USER_SPOKE: (_F.HEARING, (_C.CANCEL_REPLY,)),
        _E.USER_TYPED: (_F.THINKING, (_C.CANCEL_REPLY, _C.START_REPLY)),
        _E.STOP: (_F.IDLE, (_C.CANCEL_REPLY,)),
    },
}


@dataclass(frozen=True, slots=True)
class Turn:
    """`number` counts the replies begun, so that anything of an older one can be told apart."""

    floor: Floor = Floor.IDLE
    number: int = 0


def step(turn: Turn, event: Event) -> tuple[Turn, tuple[Command, ...]]:
    """Return the next state and what the shell must do about it, in order."""
    try:
        floor, commands = TABLE[turn.floor][event]
    except KeyError:
        return turn, ()
    return replace(turn, floor=floor, number=turn.number + (Command.START_REPLY in commands)), commands


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    for floor, row in TABLE.items():
        for event, (target, commands) in row.items():
            done = f" / {', '.join(commands)}" if commands else ""
            lines.append(f"    {floor} --> {target}: {event}{done}")
    return "\n".join(lines) + "\n"
