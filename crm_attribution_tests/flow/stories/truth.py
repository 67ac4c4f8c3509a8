"""What is stored is what HubSpot says: merged deals, people in two companies, moments and amounts that belong together,
stages no list names."""

from __future__ import annotations

import idna

from crm_attribution_tests.flow.story import Story, expects

OPEN = "appointmentscheduled"


@expects(
    "opportunity_created deal 3 03-01T09:00", "meeting_scheduled deal 3 03-01T09:00", "customer_won deal 3 03-05T09:00"
)
def won_deal_merged_with_a_lost_one(story: Story) -> None:
    """a won deal absorbs one that was lost later: the survivor's record says won"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", OPEN, 1)
    story.deal(2, "03-02T09:00:00", OPEN, 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(2, "03-20T09:00:00", "closedlost")
    story.merge("deals", "04-01T09:00:00", 1, 2, 3)


@expects(
    "opportunity_created deal 3 03-01T09:00",
    "meeting_scheduled deal 3 03-01T09:00",
    "customer_won deal 3 03-20T09:00 reversed:lost_after_won",
)
def lost_deal_merged_with_a_won_one(story: Story) -> None:
    """a lost deal absorbs one that was won later: the survivor's record says lost"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", OPEN, 1)
    story.deal(2, "03-02T09:00:00", OPEN, 1)
    story.stage(1, "03-05T09:00:00", "closedlost")
    story.stage(2, "03-20T09:00:00", "closedwon")
    story.merge("deals", "04-01T09:00:00", 1, 2, 3)


@expects("customer_won company 1 04-01T09:00", "customer_won company 2 05-01T09:00")
def one_person_with_a_contact_in_each_of_two_companies(story: Story) -> None:
    """a job changer's two contacts, one person: each acts for its own company"""
    story.company(1)
    story.company(2)
    story.contact(1, "01-10T09:00:00", company=1)
    story.contact(2, "02-10T09:00:00", company=2, hs_additional_emails=f"c{story.id(1)}@buyer.example")
    story.click("03-01T09:00:00", 1)
    story.click("03-02T09:00:00", 2)
    story.life("04-01T09:00:00", "customer", 1)
    story.life("05-01T09:00:00", "customer", 2)


@expects()
def history_that_a_merge_copied(story: Story) -> None:
    """the absorbed contact was in another company: what each did before the merge belongs to its own"""
    story.company(1)
    story.company(2)
    story.contact(1, "01-10T09:00:00", company=1)
    story.contact(2, "02-10T09:00:00", company=2)
    story.click("03-01T09:00:00", 1)
    story.click("03-02T09:00:00", 2)
    story.merge("contacts", "05-01T09:00:00", 1, 2)


@expects()
def deleted_and_created_again(story: Story) -> None:
    """a contact deleted and created again with its address: the address names the one that lives"""
    story.company(1)
    story.contact(1, "01-10T09:00:00", company=1)
    story.lines.append({"at": "2026-02-01T09:00:00Z", "op": "archive", "object": "contacts", "id": story.id(1)})
    story.contact(2, "02-02T09:00:00", company=1, email=f"c{story.id(1)}@buyer.example")
    story.submit("03-01T09:00:00", 1)


@expects()
def address_with_an_invisible_character(story: Story) -> None:
    """an address with a zero-width space, one with a space before its @: both name their person"""
    story.contact(1, "01-10T09:00:00", email=f"c{story.id(1)}\u200b@buyer.example")
    story.contact(2, "01-10T09:00:00", email=f"c{story.id(2)} @buyer.example")
    story.submit("03-01T09:00:00", 1)
    story.submit("03-01T09:00:00", 2)


@expects()
def domains_a_company_has_besides(story: Story) -> None:
    """further domains, an absorbed company's domain, a deleted duplicate, a domain in its IDNA form: each leads home"""
    mine = f"s{story.number}"
    story.company(1, domain=f"{mine}.example", hs_additional_domains=f"{mine}-labs.example;{mine}-it.example")
    story.company(2, domain=f"{mine}-old.example")
    story.company(3, domain=f"{mine}.example")
    story.company(4, domain=idna.encode(f"b\u00fccher-{mine}.example").decode())
    story.merge("companies", "02-01T09:00:00", 1, 2)
    story.lines.append({"at": "2026-02-01T09:00:00Z", "op": "archive", "object": "companies", "id": story.id(3)})
    for number, domain in enumerate(("", "-labs", "-it", "-old"), 1):
        story.contact(number, "03-01T09:00:00", email=f"lea{number}@{mine}{domain}.example")
    story.contact(5, "03-01T09:00:00", email=f"anna@b\u00fccher-{mine}.example")


@expects("opportunity_created deal 1 01-20T09:00", "customer_won deal 1 02-10T09:00")
def imported_closed(story: Story) -> None:
    """a deal that came closed: the opportunity is of its creation, the win of its close"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1, createdate="2026-01-20T09:00:00Z",
               closedate="2026-02-10T09:00:00Z", source="IMPORT")  # fmt: skip


@expects("opportunity_created deal 1 02-10T09:00", "customer_won deal 1 02-10T09:00")
def entered_after_its_close(story: Story) -> None:
    """a win typed in a month late: both are of the close, and the opportunity says it is backdated"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1, closedate="2026-02-10T09:00:00Z")


@expects(
    "opportunity_created deal 1 03-01T09:00", "proposal_sent deal 1 03-01T09:00", "customer_won deal 1 03-12T09:00"
)
def won_lost_and_won_again(story: Story) -> None:
    """lost and won again: day, observation and money of the win are all the second one's"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "contractsent", 1, amount="100")
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(1, "03-09T09:00:00", "closedlost")
    story.stage(1, "03-12T09:00:00", "closedwon", amount="300")


@expects(
    "customer_won deal 1 05-20T09:00", "opportunity_created deal 1 03-20T09:00", "meeting_scheduled deal 1 03-20T09:00"
)
def customer_long_before_the_win(story: Story) -> None:
    """a customer by lifecycle whose deal came within 90 days and was won after them: the deal takes it over"""
    story.company(1)
    story.contact(1, company=1)
    story.life("01-10T09:00:00", "customer", 1)
    story.deal(1, "03-20T09:00:00", OPEN, 1)
    story.stage(1, "05-20T09:00:00", "closedwon")


@expects("opportunity_created deal 1 01-05T09:00", "customer_won deal 1 01-20T12:00")
def pipeline_that_no_list_names(story: Story) -> None:
    """won in a pipeline deleted before HubSpot was first read, then moved into ours: its close date tells when"""
    story.company(1)
    story.deal(1, "01-05T09:00:00", "9001", 1, pipeline="oldpipe", closedate="2026-01-20T12:00:00Z", amount="5000")
    story.stage(1, "01-20T12:00:00", "9002")
    story.stage(1, "02-10T15:00:00", "closedwon", pipeline="default")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-01T09:00",
    "opportunity_created deal 2 03-05T09:00",
    "customer_expanded deal 2 03-05T09:00",
    "lead_captured contact 1 03-01T09:00",
)
def several_values_in_one_property(story: Story) -> None:
    """multiple-choice values are sets: type of deal, billing period, lead status"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1, dealtype="strategic; ExistingBusiness")
    story.deal(2, "03-05T09:00:00", "closedwon", 1, dealtype="newbusiness;strategic", billing_period="special; Annual",
               amount="1200")  # fmt: skip
    story.contact(1, "03-01T09:00:00", lifecyclestage="lead")
    story.lines.append({"at": "2026-03-02T09:00:00Z", "op": "update", "object": "contacts", "id": story.id(1),
                        "source": "CRM_UI", "properties": {"hs_lead_status": "OPEN;Recycled"}})  # fmt: skip


@expects(
    *(f"opportunity_created deal {number} 03-01T09:00" for number in (1, 2)),
    "customer_won deal 1 03-01T09:00",
    "customer_won deal 2 03-01T09:00 reversed:lost_after_won",
)
def unreadable_fields(story: Story) -> None:
    """an amount and a close date nobody can read: the win stays a win, without them; lost in such a write is lost"""
    story.company(1)
    story.company(2)
    story.deal(1, "03-01T09:00:00", "closedwon", 1, amount="ten thousand", closedate="next summer")
    story.deal(2, "03-01T09:00:00", "closedwon", 2, amount="10")
    story.stage(2, "05-01T09:00:00", "closedlost", amount="much less")


@expects(
    "opportunity_created deal 1 03-02T09:00", "meeting_scheduled deal 1 03-02T09:00", "customer_won deal 1 03-05T09:00"
)
def deal_of_contacts_without_a_company(story: Story) -> None:
    """a deal without a company: its contacts' touches led to it, those of one who is put on it after the win too"""
    story.contact(1)
    story.contact(2)
    story.contact(3)
    for number in (1, 2, 3):
        story.click(f"03-01T0{number}:00:00", number)
    story.deal(1, "03-02T09:00:00", OPEN, contacts=[1])
    story.stage(1, "03-05T09:00:00", "closedwon", amount="100")
    story.join("03-06T09:00:00", ("deals", 1), ("contacts", 2))
    story.stage(1, "03-06T09:00:01", "closedwon", amount="110")
