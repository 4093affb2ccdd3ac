"""The incoming messages of a client: each taken once, acknowledged to everyone who sent it, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from server.core.inbox import Inbox


def test_everyone_who_sent_a_message_hears_of_its_one_commit() -> None:
    inbox: Inbox[str] = Inbox()
    assert inbox.receive("m1", "first") is True
    assert inbox.receive("m1", "again") is False
    assert inbox.committed("m1", "msg_1") == ["first", "again"]
    assert inbox.receive("m1", "late") is False
    assert inbox.kept("m1") == "msg_1"


def test_a_message_that_was_refused_may_come_again() -> None:
    inbox: Inbox[str] = Inbox()
    inbox.receive("m1", "first")
    inbox.refused("m1")
    assert inbox.kept("m1") is None
    assert inbox.receive("m1", "again") is True
    assert inbox.committed("m1", "msg_1") == ["again"]


def test_a_sender_that_wants_no_acknowledgement_gets_none() -> None:
    inbox: Inbox[str] = Inbox()
    inbox.receive("m1", None)
    assert inbox.committed("m1", "msg_1") == []


def test_only_the_latest_of_many_senders_wait() -> None:
    inbox: Inbox[int] = Inbox(waiters=2)
    for n in range(10):
        inbox.receive("m1", n)
    assert inbox.committed("m1", "msg_1") == [8, 9]


def test_what_was_kept_long_ago_is_left_to_the_journal() -> None:
    inbox: Inbox[int] = Inbox(remembered=2)
    for id in ("m1", "m2", "m3"):
        inbox.receive(id, 0)
        inbox.committed(id, f"kept {id}")
    assert [inbox.kept(id) for id in ("m1", "m2", "m3")] == [None, "kept m2", "kept m3"]
    assert inbox.receive("m1", 0) is True


IDS = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(st.sampled_from(["receive", "commit", "refuse"]), IDS), max_size=200)


@given(STEPS)
def test_through_any_course_a_message_is_new_once_until_it_is_refused_and_each_sender_is_told_once(
    steps: list[tuple[str, str]],
) -> None:
    inbox: Inbox[int] = Inbox(remembered=6, waiters=1000)
    working: set[str] = set()
    kept: dict[str, str] = {}
    owed: dict[str, list[int]] = {}
    for n, (what, id) in enumerate(steps):
        if what == "receive":
            assert inbox.receive(id, n) is (id not in working and id not in kept)
            if id not in kept:
                working.add(id)
                owed.setdefault(id, []).append(n)
        elif what == "commit" and id in working:
            assert inbox.committed(id, f"msg {id}") == owed.pop(id)
            working.discard(id)
            kept[id] = f"msg {id}"
        elif what == "refuse" and id in working:
            inbox.refused(id)
            working.discard(id)
            owed.pop(id)
        assert inbox.kept(id) == kept.get(id)


@given(STEPS, st.integers(1, 3), st.integers(1, 3))
def test_memory_is_bounded_by_what_is_on_its_way_and_what_is_remembered(
    steps: list[tuple[str, str]], remembered: int, waiters: int
) -> None:
    inbox: Inbox[int] = Inbox(remembered=remembered, waiters=waiters)
    for n, (what, id) in enumerate(steps):
        match what:
            case "receive":
                inbox.receive(id, n)
            case "commit":
                inbox.committed(id, "msg")
            case "refuse":
                inbox.refused(id)
        assert len(inbox._kept) <= remembered
        assert all(len(waiting) <= waiters for waiting in inbox._waiting.values())
