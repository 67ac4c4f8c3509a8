"""Which edge may join two parts of a person: every limit at its edge, and what stands above it."""

from __future__ import annotations

import pytest

from crm_attribution.identity.rules.protection import _Part, _refusal
from crm_attribution.mapping import load

RULES = load().identity.model_copy(update={"person_emails": 3, "person_size": 5})


def part(contacts: int = 1, live: int = 1, addressed: int = 1, emails: int = 1, size: int = 1) -> _Part:
    return _Part(contacts, live, addressed, emails, size, set())


PLAIN = part()


@pytest.mark.parametrize(
    ("rule", "one", "other", "why"),
    [
        ("primary_email", PLAIN, PLAIN, None),
        ("link_click", PLAIN, PLAIN, "two_live_contacts"),
        ("form_submission", PLAIN, part(live=0), None),
        ("contact_click_id", part(live=0), PLAIN, None),
        ("email_history", PLAIN, PLAIN, "two_live_contacts"),
        ("email_history", part(addressed=0), PLAIN, None),
        ("email_history", PLAIN, part(addressed=0), None),
        ("additional_email", PLAIN, part(emails=2), None),
        ("additional_email", PLAIN, part(emails=3), "person_emails"),
        ("additional_email", PLAIN, part(contacts=0, emails=3), None),
        ("additional_email", part(contacts=0), part(emails=3), None),
        ("primary_email", PLAIN, part(size=4), None),
        ("primary_email", PLAIN, part(size=5), "person_size"),
        ("primary_email", part(size=0), part(size=6), None),
        ("primary_email", part(size=6), part(size=0), None),
        *((rule, part(emails=9, size=9), part(emails=9, size=9), None) for rule in ("include", "merge", "self")),
        ("link_contact", part(emails=9, size=9), part(emails=9, size=9), "person_emails"),
    ],
)
def test_an_edge_joins_unless_a_limit_stands_against_it(rule: str, one: _Part, other: _Part, why: str | None):
    assert _refusal(one, other, rule, False, RULES) == why
    above = None if rule == "include" else "manual_exclude"
    assert _refusal(one, other, rule, True, RULES) == above, "only a person's word joins what a person separated"


def test_a_part_of_two_parts_has_what_both_have():
    one, other = _Part(1, 2, 3, 4, 5, {6}), _Part(10, 20, 30, 40, 50, {60})
    assert one.with_(other) == _Part(11, 22, 33, 44, 55, {6, 60})
