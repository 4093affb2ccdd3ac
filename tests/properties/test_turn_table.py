"""The floor, by random walks over its table: what may never happen, whatever the order of the events."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pipelines.core.turn import TABLE, Command, Event, Floor, Turn, step

REPLYING = frozenset({Floor.THINKING, Floor.SPEAKING})


class Conversation(RuleBasedStateMachine):
    """A shell that does what the table tells it, and fails where it is told what cannot be done."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turn()
        self.replies = 0

    @rule(event=st.sampled_from(list(Event)))
    def happens(self, event: Event) -> None:
        before, known = self.turn, event in TABLE[self.turn.floor]
        self.turn, commands = step(before, event)
        if not known:
            assert (self.turn, commands) == (before, ()), "an event that means nothing now changes something"
        if event is Event.REPLY_ENDED and known:
            self.replies -= 1
        for command in commands:
            if command is Command.CANCEL_REPLY:
                assert self.replies, "a reply is cancelled that does not exist"
                self.replies -= 1
            if command is Command.START_REPLY:
                self.replies += 1
                assert self.replies == 1, "two replies at once"
        assert self.turn.number == before.number + (Command.START_REPLY in commands), "a reply without its number"

    @invariant()
    def a_reply_exists_exactly_while_one_is_thought_of_or_spoken(self) -> None:
        assert self.replies == (self.turn.floor in REPLYING)

    @invariant()
    def idle_can_be_reached(self) -> None:
        reached = {self.turn.floor}
        for _ in Floor:
            reached |= {target for floor in reached for target, _ in TABLE[floor].values()}
        assert Floor.IDLE in reached


def walk(examples: int, steps: int) -> None:
    """Raises AssertionError at the shortest way to something that must not happen."""
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None)
    run_state_machine_as_test(Conversation, settings=chosen)  # type: ignore[no-untyped-call]


def test_nothing_impossible_happens_on_a_random_walk() -> None:
    walk(examples=20, steps=30)
