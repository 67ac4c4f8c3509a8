"""What names a person who is to be forgotten, and what is left of a document: one document for each way to be named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crm_attribution.identifiers import sha256
from crm_attribution.privacy.rules import Trace, names, without

TRACE = Trace(
    frozenset({7, 8}), frozenset({"ann@firm.example", "a+b@firm.example"}), frozenset({"clk_012345", "short"})
)
NOTICE = {"subscriptionType": "contact.privacyDeletion", "objectId": 7}
MERGE = {"subscription_type": "contact.merge"}
FROM_CONTACT, TO_CONTACT = {"associationType": "CONTACT_TO_DEAL"}, {"associationType": "DEAL_TO_CONTACT"}
HASH = sha256("ann@firm.example")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(({name: one}, True) for name, one in (("contact_id", "7"), ("contactId", 8), ("VID", 7), ("eid", "7"))),
        *(({name: one}, False) for name, one in (("contact_id", 9), ("deal_id", 7), ("id", "7"), ("contact", "7"))),
        ({"contact": {"id": "7"}}, True),
        ({"contact": {"id": "9"}}, False),
        ({"subscriptionType": "contact.propertyChange", "objectId": 7}, True),
        ({"subscriptionType": "deal.propertyChange", "objectId": 7}, False),
        ({**MERGE, "mergedObjectIds": [5, "8"]}, True),
        ({**MERGE, "mergedObjectIds": [5]}, False),
        ({"object_type": "contacts", "object_id": 7}, True),
        ({"objectType": "contacts", "primaryObjectId": "8"}, True),
        ({"eventType": "contact.merge", "newObjectId": 8}, True),
        ({"objectType": "deals", "primaryObjectId": "8"}, False),
        ({**FROM_CONTACT, "fromObjectId": 7, "toObjectId": 1}, True),
        ({**FROM_CONTACT, "fromObjectId": 1, "toObjectId": 7}, False),
        ({**TO_CONTACT, "fromObjectId": 1, "toObjectId": 7}, True),
        ({**TO_CONTACT, "fromObjectId": 7, "toObjectId": 1}, False),
        ({"destination_url": "https://x.example/?eid=7"}, True),
        ({"destination_url": "https://x.example/?eid=9"}, False),
        ({"destination_url": 7}, False),
        ({"url": "https://x.example/?eid=7"}, False),
        # another contact's, whatever clicks it has; an address is never another's
        ({"contact_id": 9, "click_id": "clk_012345", "note": HASH}, False),
        ({"contact_id": 9, "note": ["for", {"x": "Ann@firm.example"}]}, True),
        ({"contact_id": 9, "note": "ann%40firm.example"}, True),
        ({"contact_id": "?", "click_id": "short"}, True),
        ({"link_click_id": "short"}, True),
        ({"gclid": "short"}, True),
        ({"click_id": None, "text": "a short text"}, False),
        ([{"contact_id": 9}, {"contact_id": 7}], True),
        ([{"contact_id": 9}], False),
        ({"any": {"where": [{"vid": 7}]}}, True),
        (json.dumps({"contact_id": 7}), True),
        (json.dumps([{"contact_id": 9}]), False),
        *((value, False) for value in (7, None, True, '{"contact_id": 7', "")),
        *(
            (text, True)
            for text in (
                *("ann@firm.example", "mailto:Ann@Firm.example?x", "to ann@firm.example.", "e=ann%40firm.example&b"),
                *("a+b@firm.example", "a%2Bb%40firm.example", "%20ann@firm.example", r"\nann@firm.example", HASH),
                *(f"hash {HASH[:12]} of it", "see clk_012345, please", "CLK_012345", "{ann@firm.example"),
            )
        ),
        *(
            (text, False)
            for text in (
                *("joann@firm.example", "ann@firm.example.org", "ann@firm.examples", "x.ann@firm.example", HASH[:11]),
                *("xclk_012345", "clk_012345-7", "short"),
            )
        ),
    ],
)
def test_a_document_is_about_the_person_where_it_names_them(value: Any, expected: bool):
    assert names(value, TRACE) is expected


@pytest.mark.parametrize(
    ("value", "rest", "gone"),
    [
        (5, 5, 0),
        (None, None, 0),
        ("x", "x", 0),
        ("ann@firm.example", None, 1),
        ([1, "ann@firm.example", None, HASH], [1, None], 2),
        ([{"vid": 7}, {"vid": 9}, [{"vid": 8}]], [{"vid": 9}, []], 2),
        ({"vid": 7, "rows": [{"vid": 7}]}, None, 1),
        ({"n": 1, "rows": [{"vid": 7}, {"vid": 9}, {"vid": 8}]}, {"n": 1, "rows": [{"vid": 9}]}, 2),
        ({"rows": '[{"vid": 7},{"name":"Zoë"}]'}, {"rows": '[{"name": "Zoë"}]'}, 1),
        ({"rows": '[{"vid":9}]', "n": 1}, {"rows": '[{"vid":9}]', "n": 1}, 0),
        ({"rows": [{"vid": 7}], "note": "ann@firm.example"}, None, 2),
        ({"list": ["ann@firm.example", "x"]}, {"list": ["x"]}, 1),
        ({"inner": {"vid": 7}}, None, 1),
        ({"inner": '{"vid": 7}'}, None, 1),
        ('{"vid": 7}', None, 1),
        ('{"vid":9}', '{"vid":9}', 0),
        # a notice of the deletion itself stays
        (NOTICE, NOTICE, 0),
        ([NOTICE, {"vid": 7}], [NOTICE], 1),
        ({**NOTICE, "rows": ["ann@firm.example"]}, {**NOTICE, "rows": ["ann@firm.example"]}, 0),
        ({"body": f"[ {json.dumps(NOTICE)}]", "n": 1}, {"body": f"[ {json.dumps(NOTICE)}]", "n": 1}, 0),
        (json.dumps([NOTICE, {"vid": 8}]), json.dumps([NOTICE]), 1),
        ({"body": '["clk_012345"]'}, {"body": "[]"}, 1),
    ],
)
def test_what_is_left_of_a_document_names_nobody(value: Any, rest: Any, gone: int):
    before = json.dumps(value)
    assert without(value, TRACE) == (rest, gone)
    assert json.dumps(value) == before, "the given one stays as it was"


def test_a_pattern_has_so_many_parts_at_most():
    many = Trace(frozenset(), frozenset(f"p{number}@x.example" for number in range(260)))
    assert [pattern.count("|(?:^|[^a-z0-9._%+-]|%[0-9a-f]{2}") for pattern in many.patterns] == [259, 0]
    assert many.mentioned_in("p0@x.example")
    assert many.mentioned_in(sha256("p99@x.example"))
    assert not many.mentioned_in("p260@x.example")
    assert not Trace(frozenset({1}), frozenset()).mentioned_in("anything")
