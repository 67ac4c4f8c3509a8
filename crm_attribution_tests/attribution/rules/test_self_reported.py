"""Answers to "how did you hear of us": whose, since when, and which channel they mean."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crm_attribution.attribution.rules.self_reported import answers
from crm_attribution_tests.events.rules.histories import RULES, frame
from crm_attribution_tests.helpers import at

NOON, HOUR = at("2026-03-05T12:00:00Z"), timedelta(hours=1)
US = pl.Datetime("us", "UTC")
SAID = RULES.touches.self_reported.model_copy(
    update={"property": "heard", "channels": {"Podcast": ["*podcast*"], "Event": ["fair*", "*cast*"]}}
)
TOUCHES = RULES.touches.model_copy(update={"self_reported": SAID, "other_channel": "Other"})


def test_an_answer_counts_since_it_was_given_first_and_means_the_first_channel_that_matches():
    given = {1: " A  PodCast ", 2: "fair in May", 3: "broadcast", 4: "a friend", 5: " ", 6: None}
    contacts = pl.DataFrame(
        [{"id": number, "person_id": f"p{number}", "created_at": NOON,
          "properties": "{}" if text is None else f'{{"heard": "{text}"}}'} for number, text in given.items()],
        schema_overrides={"created_at": US},
    )  # fmt: skip
    told = [(1, "heard", NOON + 2 * HOUR, "old"), (1, "heard", NOON + HOUR, "older"), (1, "heard", NOON, " "),
            (1, "other", NOON - HOUR, "x")]  # fmt: skip
    history = pl.DataFrame(
        [{"object_id": who, "property": name, "timestamp": when, "value": text, "person_id": f"p{who}"}
         for who, name, when, text in told],
        schema_overrides={"timestamp": US},
    )  # fmt: skip
    found = answers(
        contacts.sample(fraction=1, shuffle=True, seed=1), history, frame("identity.membership", []), TOUCHES
    )
    assert found.select("touch_id", "person_id", "contact_id", "touched_at", "channel", "answer").rows() == [
        ("said:1", "p1", 1, NOON + HOUR, "Podcast", "A  PodCast"),
        ("said:2", "p2", 2, NOON, "Event", "fair in May"),
        ("said:3", "p3", 3, NOON, "Event", "broadcast"),
        ("said:4", "p4", 4, NOON, "Other", "a friend"),
    ]
    assert answers(contacts, history, frame("identity.membership", []), RULES.touches).is_empty()
