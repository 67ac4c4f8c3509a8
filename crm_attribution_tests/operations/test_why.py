"""`why`: the trees of things whose story is known, and what they never show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.errors import NotKnown
from crm_attribution.identifiers import lifecycle_event_id
from crm_attribution.layers import IDENTITY, run
from crm_attribution.operations.why import KINDS, Node, explain
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, Chain
from crm_attribution_tests.flow.stories import money_and_moves as moves
from crm_attribution_tests.flow.stories import wins_and_echoes as wins
from crm_attribution_tests.flow.story import SETUP
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.identity.contacts import Contacts
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.sandbox

NOW = at("2026-06-01")


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def find(tree: Node, what: str) -> Node:
    """The first node whose text begins so."""
    return next(node for node in walk(tree) if node.what.startswith(what))


def whats(tree: Node, group: str) -> list[str]:
    return [child.what for child in find(tree, group).children]


def explained(chain: Chain, kind: str, asked: str, **options: Any) -> Node:
    with chain.warehouse.session() as session:
        return explain(session, kind, asked, chain.mapping, **options)


# --- persons


def test_a_merged_person_with_its_contacts_edges_and_milestones(stories: Chain):
    three = wins.contacts_merged_into_a_third.number
    tree = explained(stories, "person", f"contact:{three}01")
    assert explained(stories, "person", tree.facts["person_id"]).children == tree.children
    assert (tree.facts["speaks_for_it"], tree.facts["contacts"]) == (f"contact:{three}03", 1)
    states = {node.what: node.facts["state"] for node in find(tree, "contacts").children}
    assert states == {f"contact:{three}03": "live", **{f"contact:{three}0{n}": f"absorbed by contact:{three}03"
                                                      for n in (1, 2)}}  # fmt: skip
    merge = find(tree, f"contact:{three}03 — merge — contact:{three}02")
    assert merge.facts["source"] == f"raw.merge:contacts:{three}02"
    assert merge.facts["first_seen"] == "2026-03-10T09:00:00Z"
    assert whats(tree, "milestones") == ["lead_captured", "qualified_lead"]


def two_persons(session: Session) -> tuple[str, str]:
    """Two persons that become one by an e-mail, and a mailbox that joins nobody. Returns the person, the former one."""
    crm = Contacts()
    one, other = crm.create("ann@a.example"), crm.create("bob@b.example")
    crm.create("info@a.example")
    crm.tell(session)
    run(IDENTITY, session, LOADED, NOW)
    ids = [
        str(session.scalar("SELECT person_id FROM identity.alias WHERE node_id = (SELECT node_id FROM identity.node"
                           " WHERE node_type = 'contact' AND identifier = ?)", [contact]))
        for contact in (one, other)
    ]  # fmt: skip
    crm.add_email(one, "bob@b.example")
    crm.tell(session)
    run(IDENTITY, session, LOADED, NOW)
    return ids[0], ids[1]


def test_a_former_person_leads_to_what_it_became_and_says_so(session: Session):
    person, former = two_persons(session)
    tree = explain(session, "person", former, LOADED)
    assert (tree.facts["person_id"], tree.facts["former_id"]) == (person, former)
    change = find(tree, f"{person} took in {former}")
    assert (change.facts["kind"], change.facts["cause"]) == ("merge", "contact:1")


def test_refused_edges_say_by_which_rule(session: Session):
    two_persons(session)
    tree = explain(session, "person", "contact:3", LOADED)
    (refused,) = find(tree, "edges refused").children
    assert refused.what == "contact:3 — primary_email — email:i***@a.example"
    assert refused.facts["refused_by"] == "role_mailbox"
    with pytest.raises(NotKnown, match=r"email:i\*\*\*@a.example names no person.*role_mailbox \(1\)"):
        explain(session, "person", "email:Info@a.example", LOADED)


def test_emails_are_masked_unless_asked_for(session: Session):
    two_persons(session)
    hidden = json.dumps(explain(session, "person", "email:BOB@b.example", LOADED).as_dict())
    assert "b***@b.example" in hidden
    assert "bob@" not in hidden.lower()
    shown = json.dumps(explain(session, "person", "contact:1", LOADED, show_personal=True).as_dict())
    assert "bob@b.example" in shown


# --- accounts


def test_an_account_of_two_companies_with_their_domains(stories: Chain, session: Session):
    two = wins.companies_merged_as_before_2025.number
    tree = explained(stories, "account", f"company:{two}01")
    assert tree.facts["account_id"] == f"company:{two}02"
    assert tree.facts["leads_here_by"] == [f"raw.merge:companies:{two}01"]
    assert whats(tree, "companies") == [f"company:{two}02", f"company:{two}01"]
    assert find(tree, "memberships").facts["persons"] == 2
    assert {node.facts["basis"] for node in find(tree, "deals").children} == {"primary"}
    assert sorted(whats(tree, "milestones"))[:2] == ["customer_expanded", "customer_won"]
    assert explained(stories, "account", f"deal:{two}01").facts["account_id"] == f"company:{two}02"
    few = explained(stories, "account", f"company:{two}02", limit=1)
    assert find(few, "memberships").facts == {"count": 2, "shown": 1, "persons": 2, "now": 2}
    assert len(find(few, "memberships").children) == 1


def test_a_domain_leads_to_its_company_and_a_shared_one_is_reported(session: Session):
    sample_rows.fill(
        session,
        {
            "identity.account": [
                {"account_id": f"company:{n}", "company_id": n, "domain": domain, "business_domain": domain}
                for n, domain in (("1", "one.example"), ("2", "shared.example"), ("3", "shared.example"))
            ],
            "identity.account_alias": [
                {"alias_id": f"domain:{name}", "account_id": "company:1", "rule": "company_domain"}
                for name in ("one.example", "old.example")
            ],
        },
    )
    tree = explain(session, "account", "domain:www.Old.example", LOADED)
    assert tree.facts["account_id"] == "company:1"
    assert whats(tree, "domains that lead to it") == ["domain:old.example", "domain:one.example"]
    assert whats(explain(session, "account", "company:2", LOADED), "companies with the same domain") == ["company:3"]


# --- events


def test_the_event_of_an_absorbed_contact_leads_to_its_history_row_and_the_merge(tmp_path: Path):
    story = wins.contacts_merged_into_a_third
    first, second, third = story.id(1), story.id(2), story.id(3)
    with Chain.start(tmp_path, [*SETUP, *story.lines], "2026-03-08T09:00:00Z") as chain:
        chain.run()
        chain.advance("2026-03-12T09:00:00Z", at("2026-03-08T09:00:00Z"))
        later = lifecycle_event_id("contacts", int(first), "marketingqualifiedlead", at("2026-03-06T09:00:00Z"))
        tree = explained(chain, "event", later)
        earlier = lifecycle_event_id("contacts", int(second), "marketingqualifiedlead", at("2026-03-04T09:00:00Z"))
        milestone = explained(chain, "milestone", later)
    assert (tree.facts["record"], tree.facts["held_by"]) == (f"contacts:{first}", f"contacts:{third}")
    assert find(tree, "rule: lifecycle.stages.marketingqualifiedlead: qualified_lead").facts == {"mapping_version": "1"}
    rows = find(tree, "source rows").children
    assert rows[0].what == f"raw.property_history:contacts:{first}:lifecyclestage"
    assert rows[0].facts == {
        "value": "marketingqualifiedlead", "at": "2026-03-06T09:00:00Z", "source_type": "AUTOMATION_PLATFORM"
    }  # fmt: skip
    assert all("copied" in row.facts for row in rows[1:])
    (merge,) = find(tree, "record absorbed since").children
    assert merge.facts["source"] == f"raw.merge:contacts:{first}"
    (linked,) = find(tree, "milestones").children
    assert (linked.facts["role"], linked.facts["why"]) == ("linked", "a later entry of the same person")
    assert milestone.facts["milestone_id"] == earlier


def test_the_values_of_a_deal_say_where_they_come_from(stories: Chain):
    deal = moves.amount_typed_later.id(1)
    tree = explained(stories, "event", f"deal_{deal}_amount_2026-03-20T09:00:00Z")
    assert (find(tree, "arr").facts, find(tree, "mrr").facts["value"]) == (
        {"value": 150050, "from": "rule over amount and billing period; no history of hs_arr"},
        12504,
    )
    assert find(tree, "values").facts["amount_before"] == 120000
    assert find(tree, "no milestone").facts["why"] == "it is not an entry into a stage"


# --- milestones


def test_echoes_and_adoption_are_told_by_name(stories: Chain):
    one = wins.repeated_on_every_record.number
    tree = explained(stories, "milestone", f"deal_{one}01_closedwon_2026-03-08T09:00:00Z")
    events = find(tree, "events").children
    assert [(e.what, e.facts["role"], e.facts["why"][:4]) for e in events] == [
        ("deal_won", "carrier", "the "),
        *[("customer_won", "linked", "echo")] * 3,
    ]
    workflow = next(e for e in events if e.facts["occurred"] == "2026-03-11T09:00:00Z")
    told_by = explained(stories, "event", workflow.facts["event_id"])
    assert find(told_by, "customer_won").facts["why"].startswith("echo")
    adopting = wins.later_deal_adopts_the_opportunity.id(1)
    with stories.warehouse.session() as session:
        found = session.read("events.milestone", "deal_id = ? AND milestone = 'opportunity_created'", [adopting])
    tree = explained(stories, "milestone", found["milestone_id"][0])
    assert [e.facts["why"][:12] for e in find(tree, "events").children] == ["adoption: it", "the event wh"]


def test_credit_leads_to_the_submission_and_conversions_to_their_attempts(stories: Chain):
    won = f"customer_won:deal_{wins.form_of_a_merged_contact.id(1)}_closedwon_2026-03-05T09:00:00Z"
    tree = explained(stories, "milestone", won)
    credit = find(tree, "linear count")
    assert (credit.facts["total"], credit.facts["unattributed"], credit.facts["touches"]) == (1_000_000, 0, 1)
    submission = find(tree, "raw.form_submission:")
    assert submission.facts == {"submitted_at": "2026-03-01T09:00:00Z", "email": "c***@buyer.example"}
    assert find(tree, "conversions").facts == {"none": "no destination has planned any"}


def test_conversions_of_any_linked_event_are_shown_with_their_attempts(session: Session):
    at_ten = "2026-03-10T09:00:00Z"
    milestone = sample_rows.milestone("customer_won", "w", at_ten, account="company:1", deal="1", subtype="new")
    milestone["linked_event_ids"] = ["w", "earlier"]
    conversion = {**sample_rows.conversion("c1", "Purchase", milestone, "retry"), "milestone_id": "earlier"}
    attempt = {"batch_id": "b", "conversion_id": "c1", "destination": "meta", "attempt": 1, "payload_hash": "h",
               "started": at(at_ten), "http_status": 500, "outcome": "retry", "code": "http_500"}  # fmt: skip
    sample_rows.fill(session, {"events.milestone": [milestone], "conversions.conversion": [conversion],
                         "delivery.attempt": [attempt]})  # fmt: skip
    tree = explain(session, "milestone", "w", LOADED)
    assert find(tree, "meta").facts["conversion_id"] == "c1"
    assert find(tree, "attempt 1").facts["code"] == "http_500"


# --- all of them


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_id_is_told_with_what_there_is(stories: Chain, kind: str):
    with pytest.raises(NotKnown, match=r"n\*\*\*@x.example.*person: .*account: ") as raised:
        explained(stories, kind, "email:nobody@x.example")
    assert "nobody" not in str(raised.value)


def test_the_command(stories: Chain, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(stories.warehouse.directory))
    story = wins.contacts_merged_as_before_2025.number
    done = CliRunner().invoke(main, ["why", "person", f"contact:{story}02", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == explained(stories, "person", f"contact:{story}02").as_dict()
    done = CliRunner().invoke(main, ["why", "person", f"contact:{story}02"])
    assert f"contact:{story}01 — merge — contact:{story}02  source: raw.merge:contacts:{story}02" in done.stdout
    done = CliRunner().invoke(main, ["why", "account", "company:987654"])
    assert done.exit_code == 1
    assert "no account has the id 'company:987654'" in done.output


def test_while_a_run_holds_the_warehouse_it_says_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hold = "import sys; from pathlib import Path; from crm_attribution.warehouse.connection import Warehouse\n"
    hold += "with Warehouse(Path(sys.argv[1])).session(): print('held', flush=True); sys.stdin.read()"
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CRM_ATTRIBUTION_LOCK_WAIT", "0")
    new_warehouse(tmp_path)
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = CliRunner().invoke(main, ["why", "event", "x"])
        holder.communicate("")
    assert done.exit_code == 1
    assert f"is held by process {holder.pid}" in done.output
