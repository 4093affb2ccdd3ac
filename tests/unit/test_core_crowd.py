"""Who is let in where there is room for so many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.crowd import Crowd

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def test_the_full_house_lets_nobody_in_until_somebody_leaves() -> None:
    crowd = Crowd(2, 0)
    assert [crowd.enter(ONE), crowd.enter(OTHER), crowd.enter(OTHER)] == [True, True, False]
    crowd.leave(ONE)
    assert crowd.enter(OTHER)


def test_one_address_does_not_take_the_room_of_another() -> None:
    crowd = Crowd(10, 2)
    assert [crowd.enter(ONE) for _ in range(3)] == [True, True, False]
    assert crowd.enter(OTHER)
    crowd.leave(ONE)
    assert crowd.enter(ONE)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", ""])
def test_this_machine_is_counted_with_all_others_only(address: str) -> None:
    crowd = Crowd(3, 1)
    assert [crowd.enter(address) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_the_addresses_of_one_customer_count_as_one(first: str, second: str, same: bool) -> None:
    crowd = Crowd(10, 1)
    assert crowd.enter(first)
    assert crowd.enter(second) is not same


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER, "::1"]), st.booleans())))
def test_the_count_is_of_those_who_are_in(steps: list[tuple[str, bool]]) -> None:
    crowd, inside = Crowd(5, 3), list[str]()
    for address, comes in steps:
        if comes:
            if crowd.enter(address):
                inside.append(address)
        elif address in inside:
            crowd.leave(address)
            inside.remove(address)
        assert crowd.count == len(inside) <= 5
        assert max(inside.count(ONE), inside.count(OTHER)) <= 3
