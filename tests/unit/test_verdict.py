"""A check of faults tells a server that breaks its rule from one that breaks another, and from having seen nothing."""

import pytest

from tests.faults.verdict import Verdict, outcome


@pytest.mark.parametrize(
    ("verdict", "complaint", "expected"),
    [
        (Verdict("fine"), "", ("good", 0)),
        (Verdict("bad", ["3 rows of 2"]), "", ("BROKEN", 1)),
        (Verdict("bad", ["3 rows of 2"]), "rows of", ("caught", 0)),
        (Verdict("bad", ["refused"]), "rows of", ("NOT CAUGHT", 1)),
        (Verdict("fine"), "rows of", ("NOT CAUGHT", 1)),
        (Verdict("nothing", ["rows of"], False), "rows of", ("NOT MEASURED", 1)),
        (Verdict("nothing", [], False), "", ("NOT MEASURED", 1)),
    ],
)
def test_a_mutant_is_caught_by_the_complaint_it_must_cause(
    verdict: Verdict, complaint: str, expected: tuple[str, int]
) -> None:
    assert outcome(verdict, complaint) == expected
