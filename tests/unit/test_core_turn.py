"""The floor: every rule of the table, and what can never happen."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.turn import TABLE, Command, Event, Floor, Turn, diagram, step


def test_a_spoken_turn_goes_from_hearing_to_the_answer_and_back() -> None:
    turn, floors = Turn(), []
    for event in (
        Event.USER_SPOKE,
        Event.USER_STOPPED,
        Event.TRANSCRIBED,
        Event.REPLY_AUDIBLE,
        Event.REPLY_ENDED,
    ):
        turn, _ = step(turn, event)
        floors.append(turn.floor)
    assert floors == [Floor.HEARING, Floor.ENDPOINT, Floor.THINKING, Floor.SPEAKING, Floor.IDLE]
    assert turn.number == 1


def test_speaking_over_the_answer_cancels_it() -> None:
    assert step(Turn(Floor.SPEAKING, 3), Event.USER_SPOKE) == (Turn(Floor.HEARING, 3), (Command.CANCEL_REPLY,))


def test_typing_over_the_answer_cancels_it_before_it_starts_the_next() -> None:
    turn, commands = step(Turn(Floor.SPEAKING, 3), Event.USER_TYPED)
    assert turn == Turn(Floor.THINKING, 4)
    assert commands == (Command.CANCEL_REPLY, Command.START_REPLY)


def test_an_event_that_means_nothing_now_changes_nothing() -> None:
    for floor in Floor:
        for event in set(Event) - set(TABLE[floor]):
            assert step(Turn(floor, 7), event) == (Turn(floor, 7), ())


def test_idle_can_be_reached_from_everywhere() -> None:
    reaches = {Floor.IDLE}
    for _ in Floor:
        reaches |= {floor for floor, row in TABLE.items() if any(target in reaches for target, _ in row.values())}
    assert reaches == set(Floor)


def test_the_documented_diagram_is_that_of_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "turn.md").read_text()
    assert page.split("```mermaid\n")[1].split("```")[0] == diagram(), "paste what diagram() draws into docs/turn.md"


def test_the_diagram_has_every_rule() -> None:
    assert diagram().count("-->") == 1 + sum(len(row) for row in TABLE.values())


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_there_are_never_two_replies_and_none_is_cancelled_that_is_not_there(events: list[Event]) -> None:
    turn, replying = Turn(), False
    for event in events:
        turn, commands = step(turn, event)
        if event is Event.REPLY_ENDED:
            replying = replying and turn.floor not in (Floor.IDLE,)
        for command in commands:
            if command is Command.CANCEL_REPLY:
                assert replying
                replying = False
            if command is Command.START_REPLY:
                assert not replying
                replying = True
        assert replying == (turn.floor in (Floor.THINKING, Floor.SPEAKING))
