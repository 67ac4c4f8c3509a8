"""`why`: the trees of things whose story is known, and what they never show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.contracts.events import GAPS
from crm_attribution.errors import NotKnown
from crm_attribution.identifiers import lifecycle_event_id
from crm_attribution.layers import IDENTITY, run
from crm_attribution.mapping import PipelineKind
from crm_attribution.operations.why import KINDS, Node, explain
from crm_attribution.operations.why.words import GAPS as GAP_WORDS
from crm_attribution.operations.why.words import PIPELINES
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, Chain
from crm_attribution_tests.flow.stories import money_and_moves as moves
from crm_attribution_tests.flow.stories import truth
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


def explained(chain: Chain, kind: str | None, asked: str, **options: Any) -> Node:
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
    assert [e.facts["why"][:12] for e in find(tree, "events").children] == ["the earliest", "adoption: it"]


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


# --- deals


def test_a_deal_leads_from_its_stages_over_events_and_milestones_to_credit(stories: Chain):
    deal = wins.form_of_a_merged_contact.id(1)
    tree = explained(stories, "deal", str(deal))
    assert tree == explained(stories, "deal", f"deal:{deal}") == explained(stories, None, str(deal))
    (won,) = [stage for stage in find(tree, "stages").children if stage.what.startswith("closedwon")]
    (event,) = won.children
    assert (event.what, event.facts["event_id"]) == ("deal_won", f"deal_{deal}_closedwon_2026-03-05T09:00:00Z")
    assert ("customer_won", "carrier") in [(node.what, node.facts["role"]) for node in event.children]
    milestones = {node.what: node for node in find(tree, "milestones").children}
    assert find(milestones["customer_won"], "linear count").facts["total"] == 1_000_000
    assert find(milestones["customer_won"], "linear count").children == []


def test_credit_is_shown_once_per_touch(stories: Chain):
    """Of a deal with two outcomes too: the touch stands once, with what it got of each."""
    tree = explained(stories, "deal", str(wins.form_of_a_merged_contact.id(1)))
    touches = find(tree, "touches").children
    assert len(touches) == find(tree, "touches").facts["count"] == 1
    assert len([node for node in walk(tree) if node.what == touches[0].what]) == 1
    given = {node.what: node.facts for node in touches[0].children if node.what.startswith("credit for")}
    assert given["credit for customer_won"]["linear count"] == 1_000_000
    assert set(given) == {"credit for customer_won", "credit for opportunity_created"}
    with stories.warehouse.session() as session:
        rows = session.read("attribution.credit", "touch_id = ? AND superseded_at IS NULL", [touches[0].what])
    assert sum(len(facts) for facts in given.values()) == rows.height


def test_a_merged_deal_is_found_by_its_former_id_with_the_stages_of_both(stories: Chain):
    story = truth.won_deal_merged_with_a_lost_one
    tree = explained(stories, "deal", str(story.id(1)))
    assert (tree.what, tree.facts["asked_for"]) == (f"deal {story.id(3)}", f"deal:{story.id(1)}")
    assert whats(tree, "merged into it") == [f"deal:{story.id(1)}", f"deal:{story.id(2)}"]
    stages = [(stage.what.partition(" ")[0], stage.facts["entered"]) for stage in find(tree, "stages").children]
    assert ("closedwon", "2026-03-05T09:00:00Z") in stages
    assert ("closedlost", "2026-03-20T09:00:00Z") in stages
    written = [stage.facts["event"] for stage in find(tree, "stages").children if "event" in stage.facts]
    assert written[-1] == "none: a merge wrote it"


def test_each_stage_of_every_deal_has_its_events_or_says_why_not(stories: Chain):
    with stories.warehouse.session() as session:
        deals = session.query("SELECT id FROM raw.deal ORDER BY id")["id"].to_list()
        events = session.query("SELECT event_id FROM events.event WHERE object_type = 'deals'")["event_id"].to_list()
    trees = [explained(stories, "deal", str(deal), limit=1000) for deal in deals]
    stages = [stage for tree in trees for part in tree.children if part.what == "stages" for stage in part.children]
    assert stages
    assert [stage.what for stage in stages if bool(stage.children) == ("event" in stage.facts)] == []
    told = [node.facts["event_id"] for tree in trees for node in walk(tree) if "event_id" in node.facts]
    assert sorted(told) == sorted(events), "every event of a deal stands in its tree, once"
    assert not [node for tree in trees for node in walk(tree) if "none yet" in str(node.facts)]


def test_a_deal_that_nothing_counts_of_says_why(stories: Chain):
    deals = [str(wins.ignored_and_unmapped_pipelines.id(n)) for n in (1, 2)]
    reasons = [explained(stories, "deal", deal).children[-1].facts["why"] for deal in deals]
    assert any("ignore: nothing of it counts" in reason for reason in reasons)
    assert any("deals.pipelines of the mapping does not name it" in reason for reason in reasons)


def quarantine(session: Session, name: str, key: str, reasons: str, *, stored: bool) -> None:
    bad = pl.DataFrame({"key": [key], "reasons": [reasons], "row": ["{}"], "source": ["search"], "stored": [stored]})
    with session.transaction():
        session.quarantine.add(name, bad, observed_at=at("2026-03-05T10:00:00Z"))


def test_a_record_in_quarantine_says_since_when_and_what_it_means(session: Session):
    sample_rows.fill(session, {"raw.deal": [sample_rows.deal("1", "won"), sample_rows.deal("3", "won")]})
    quarantine(session, "raw.deal", "1", "amount:not_a_number", stored=True)
    quarantine(session, "raw.deal", "2", "hs_object_id:str_matches('^x@y$')", stored=False)
    quarantine(session, "raw.property_history", "deals:3", "timestamp:not_a_time", stored=False)
    quarantine(session, "raw.contact", "4", "createdate:missing", stored=False)
    quarantine(session, "raw.company", "5", "createdate:missing", stored=False)
    found = {n: find(explain(session, "deal", n, LOADED), "in quarantine since 2026-03-05T10:00:00Z") for n in "123"}
    assert found["1"].facts["reasons"] == "amount: not_a_number"
    assert found["1"].facts["means"] == "the record is stored, without the fields named"
    assert found["2"].facts["reasons"] == "hs_object_id: str_matches"
    assert found["2"].facts["means"].startswith("its newest version is not stored")
    assert found["3"].facts["source"] == "quarantine.property_history:deals:3"
    nowhere = explain(session, "deal", "2", LOADED)
    assert nowhere.facts["record"] == "none: no version of it could be stored"
    assert nowhere.children[-1].facts["why"] == "no version of it could be stored"
    for kind, asked in (("person", "contact:4"), ("account", "company:5")):
        with pytest.raises(NotKnown, match=f"{asked} is in quarantine since 2026-03-05T10:00:00Z: createdate: missing"):
            explain(session, kind, asked, LOADED)
    with session.transaction():
        session.quarantine.resolve("raw.deal", pl.Series([1]))
    assert "quarantine" not in json.dumps(explain(session, "deal", "1", LOADED).as_dict())


def test_known_gaps_of_a_deal_are_named(session: Session):
    sample_rows.fill(
        session,
        {
            "raw.deal": [sample_rows.deal("1", "lost"), sample_rows.deal("2", "won")],
            "events.gap": [
                {"gap": "stage_unknown", "subject": "lost", "records": 1, "first_at": at("2026-03-02T08:00:00Z")},
                {"gap": "pipeline_unmapped", "subject": "default", "records": 2, "first_at": None},
                {"gap": "deal_refused", "subject": "2", "records": 1, "first_at": at("2026-03-03T08:00:00Z")},
            ],
        },
    )
    gaps = {
        n: [c for c in explain(session, "deal", n, LOADED).children if c.what.startswith("known gap")] for n in "12"
    }
    assert [gap.what for gap in gaps["1"]] == [
        "known gap pipeline_unmapped: default",
        "known gap stage_unknown: lost",
    ]
    assert gaps["1"][1].facts["since"] == "2026-03-02T08:00:00Z"
    assert [gap.what for gap in gaps["2"]] == ["known gap deal_refused: 2", "known gap pipeline_unmapped: default"]


def test_every_kind_of_gap_and_pipeline_is_explained():
    assert set(GAP_WORDS) == set(GAPS)
    assert set(PIPELINES) == {*get_args(PipelineKind), None}


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
    deal = wins.form_of_a_merged_contact.id(1)
    for words in ([str(deal)], ["deal", str(deal)], [f"deal:{deal}"]):
        done = CliRunner().invoke(main, ["why", *words, "--json"])
        assert json.loads(done.stdout) == explained(stories, "deal", str(deal)).as_dict()
    company = f"company:{wins.companies_merged_as_before_2025.number}01"
    done = CliRunner().invoke(main, ["why", company, "--json"])
    assert json.loads(done.stdout) == explained(stories, "account", company).as_dict()
    done = CliRunner().invoke(main, ["why", "invoice", "7"])
    assert (done.exit_code, "person, event, milestone, account, deal" in done.output) == (2, True)


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
