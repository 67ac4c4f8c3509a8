"""Wins, echoes and what is taken back."""

from __future__ import annotations

from crm_attribution_tests.flow.story import Story, expects


@expects(
    "opportunity_created deal 1 03-05T09:00", "meeting_scheduled deal 1 03-05T09:00", "customer_won deal 1 03-08T09:00"
)
def repeated_on_every_record(story: Story) -> None:
    """HubSpot and a workflow repeat the deal on every contact and on the company"""
    story.company(1)
    story.contact(1, company=1)
    story.contact(2, company=1)
    story.deal(1, "03-05T09:00:00", "appointmentscheduled", 1, [1])
    story.life("03-05T09:00:01", "opportunity", 1, 2)
    story.company_life(1, "03-05T09:00:01", "opportunity")
    story.stage(1, "03-08T09:00:00", "closedwon")
    story.life("03-08T09:00:01", "customer", 1)
    story.company_life(1, "03-08T09:00:01", "customer")
    story.life("03-11T09:00:00", "customer", 2)


@expects(
    "opportunity_created deal 1 03-05T09:00", "customer_won deal 1 03-05T09:00", "lead_captured contact 1 04-20T09:00"
)
def joins_a_customer(story: Story) -> None:
    """a contact joins an account that is a customer already"""
    story.company(1)
    story.deal(1, "03-05T09:00:00", "closedwon", 1)
    story.contact(1, "04-20T09:00:00", company=1, lifecyclestage="lead")
    story.life("04-20T09:05:00", "customer", 1)


@expects("customer_won company 1 03-05T09:00", "opportunity_created company 1 03-01T09:00")
def win_without_a_deal(story: Story) -> None:
    """a win without a deal"""
    story.company(1)
    story.contact(1, company=1)
    story.contact(2, company=1)
    story.life("03-01T09:00:00", "opportunity", 1)
    story.life("03-05T09:00:00", "customer", 1)
    story.life("03-06T09:00:00", "customer", 2)


@expects("customer_won contact 1 03-05T09:00")
def win_of_a_contact_alone(story: Story) -> None:
    """a win of somebody without company or deal"""
    story.contact(1)
    story.life("03-05T09:00:00", "customer", 1)


@expects("opportunity_created deal 1 03-12T09:00", "meeting_scheduled deal 1 03-12T09:00")
def later_deal_adopts_the_opportunity(story: Story) -> None:
    """a deal ten days later takes the lifecycle's opportunity over, and gives it its own time"""
    story.company(1)
    story.contact(1, company=1)
    story.life("03-02T09:00:00", "opportunity", 1)
    story.deal(1, "03-12T09:00:00", "appointmentscheduled", 1, [1])


@expects("opportunity_created deal 1 03-03T09:00", "meeting_scheduled deal 1 03-03T09:00")
def echo_at_24_hours(story: Story) -> None:
    """a deal exactly 24 hours later: still an echo"""
    story.company(1)
    story.contact(1, company=1)
    story.life("03-02T09:00:00", "opportunity", 1)
    story.deal(1, "03-03T09:00:00", "appointmentscheduled", 1)


@expects("opportunity_created deal 1 03-03T09:00", "meeting_scheduled deal 1 03-03T09:00")
def adopted_after_24_hours(story: Story) -> None:
    """a second beyond 24 hours: adopted"""
    story.company(1)
    story.contact(1, company=1)
    story.life("03-02T09:00:00", "opportunity", 1)
    story.deal(1, "03-03T09:00:01", "appointmentscheduled", 1)


@expects("opportunity_created deal 1 04-10T09:00", "meeting_scheduled deal 1 04-10T09:00")
def adopted_at_90_days(story: Story) -> None:
    """exactly 90 days: adopted"""
    story.company(1)
    story.contact(1, company=1)
    story.life("01-10T09:00:00", "opportunity", 1)
    story.deal(1, "04-10T09:00:00", "appointmentscheduled", 1)


@expects(
    "opportunity_created company 1 01-10T09:00",
    "opportunity_created deal 1 04-10T09:00",
    "meeting_scheduled deal 1 04-10T09:00",
)
def two_opportunities_after_90_days(story: Story) -> None:
    """a second beyond 90 days: two opportunities"""
    story.company(1)
    story.contact(1, company=1)
    story.life("01-10T09:00:00", "opportunity", 1)
    story.deal(1, "04-10T09:00:01", "appointmentscheduled", 1)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00",
    "opportunity_created deal 2 03-02T09:00",
    "meeting_scheduled deal 2 03-02T09:00",
    "customer_expanded deal 2 03-25T09:00",
)
def second_win_expands(story: Story) -> None:
    """the second win of an account is an expansion"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.deal(2, "03-02T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(2, "03-25T09:00:00", "closedwon")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00 reversed:lost_after_won",
    "opportunity_created deal 2 03-02T09:00",
    "meeting_scheduled deal 2 03-02T09:00",
    "customer_won deal 2 03-25T09:00",
)
def win_lost_again(story: Story) -> None:
    """a win lost again leaves the next win to be the first"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.deal(2, "03-02T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(1, "03-09T09:00:00", "closedlost")
    story.stage(2, "03-25T09:00:00", "closedwon")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "proposal_sent deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00 reversed:reopened",
)
def reopened(story: Story) -> None:
    """reopened"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "contractsent", 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(1, "03-09T09:00:00", "contractsent")


@expects(
    "opportunity_created deal 1 03-01T09:00", "proposal_sent deal 1 03-01T09:00", "customer_won deal 1 03-12T09:00"
)
def reopened_and_won_again(story: Story) -> None:
    """reopened and won again"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "contractsent", 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(1, "03-09T09:00:00", "contractsent")
    story.stage(1, "03-12T09:00:00", "closedwon")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00",
    "opportunity_created deal 2 03-20T09:00",
    "customer_expanded deal 2 03-20T09:00",
)
def first_win_is_a_renewal(story: Story) -> None:
    """the account's first win is customer_won, whatever pipeline it is in"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "due", 1)
    story.stage(1, "03-05T09:00:00", "renewed")
    story.deal(2, "03-20T09:00:00", "closedwon", 1)


@expects()
def ignored_and_unmapped_pipelines(story: Story) -> None:
    """a pipeline to ignore and one nobody mapped"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "signed", 1)
    story.deal(2, "03-01T09:00:00", "bought", 1)


@expects("opportunity_created deal 1 03-09T09:00", "negotiation_started deal 1 03-09T09:00")
def moved_out_of_an_ignored_pipeline(story: Story) -> None:
    """a deal that moves from an ignored pipeline into ours begins there"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "talking", 1)
    story.stage(1, "03-09T09:00:00", "decisionmakerboughtin", pipeline="default")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-01T09:00",
    "opportunity_created deal 2 03-02T09:00",
    "customer_won deal 2 03-02T09:00",
)
def deals_of_nobody(story: Story) -> None:
    """a deal of nobody is its own account; two of them share nothing"""
    story.deal(1, "03-01T09:00:00", "closedwon")
    story.deal(2, "03-02T09:00:00", "closedwon")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "proposal_sent deal 1 03-09T09:00",
    "lead_captured contact 1 03-01T09:00",
    "sales_qualified_lead contact 1 03-09T09:00",
)
def slip_taken_back_within_the_hour(story: Story) -> None:
    """a slip of the mouse, taken back within the hour, is nothing; the true entry later is one"""
    story.company(1)
    story.contact(1, "03-01T09:00:00", lifecyclestage="lead")
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-02T09:00:00", "contractsent")
    story.stage(1, "03-02T10:00:00", "appointmentscheduled")
    story.stage(1, "03-09T09:00:00", "contractsent")
    story.life("03-02T09:00:00", "salesqualifiedlead", 1)
    story.life("03-02T09:30:00", "", 1)
    story.life("03-02T09:30:10", "lead", 1)
    story.life("03-09T09:00:00", "salesqualifiedlead", 1)


@expects(
    "opportunity_created deal 1 03-01T09:00", "meeting_scheduled deal 1 03-01T09:00", "proposal_sent deal 1 03-02T09:00"
)
def taken_back_later(story: Story) -> None:
    """taken back later than that it happened"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-02T09:00:00", "contractsent")
    story.stage(1, "03-02T10:00:01", "appointmentscheduled")


@expects(
    "opportunity_created deal 1 03-01T09:00", "meeting_scheduled deal 1 03-01T09:00", "proposal_sent deal 1 03-02T09:20"
)
def won_by_a_slip(story: Story) -> None:
    """won by a slip, then moved on as an open deal"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-02T09:00:00", "closedwon")
    story.stage(1, "03-02T09:20:00", "contractsent")


def _merged_contacts(story: Story, into: int | None) -> None:
    story.contact(1, "03-01T09:00:00", lifecyclestage="lead")
    story.contact(2, "03-03T09:00:00", lifecyclestage="lead")
    story.life("03-04T09:00:00", "marketingqualifiedlead", 2)
    story.life("03-06T09:00:00", "marketingqualifiedlead", 1)
    story.merge("contacts", "03-10T09:00:00", 1, 2, into)


@expects("lead_captured contact 1 03-01T09:00", "qualified_lead contact 1 03-04T09:00")
def contacts_merged_as_before_2025(story: Story) -> None:
    """two contacts merged as before 2025: one lead, the earlier"""
    _merged_contacts(story, None)


@expects("lead_captured contact 3 03-01T09:00", "qualified_lead contact 3 03-04T09:00")
def contacts_merged_into_a_third(story: Story) -> None:
    """two contacts merged into a third record: one lead, the earlier"""
    _merged_contacts(story, 3)


COMPANIES_MERGED = (
    "opportunity_created deal 1 03-05T09:00",
    "customer_won deal 1 03-05T09:00",
    "opportunity_created deal 2 03-09T09:00",
    "customer_expanded deal 2 03-09T09:00",
)


def _merged_companies(story: Story, into: int | None) -> None:
    story.company(1)
    story.company(2)
    story.contact(1, company=1)
    story.contact(2, company=2)
    story.deal(1, "03-05T09:00:00", "closedwon", 1)
    story.deal(2, "03-09T09:00:00", "closedwon", 2)
    story.merge("companies", "03-20T09:00:00", 2, 1, into)


@expects(*COMPANIES_MERGED)
def companies_merged_as_before_2025(story: Story) -> None:
    """two companies merged as before 2025: the later win becomes an expansion"""
    _merged_companies(story, None)


@expects(*COMPANIES_MERGED)
def companies_merged_into_a_third(story: Story) -> None:
    """two companies merged into a third record: the later win becomes an expansion"""
    _merged_companies(story, 3)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created deal 2 05-01T09:00",
    "meeting_scheduled deal 2 05-01T09:00",
)
def echo_of_a_contact_on_the_deal(story: Story) -> None:
    """the echo of a person who is only on the deal, not in its company"""
    story.company(1)
    story.company(2)
    story.contact(1)
    story.contact(2, company=2)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1, [1, 2])
    story.life("04-01T09:00:00", "opportunity", 1)
    story.life("04-02T09:00:00", "opportunity", 2)
    story.deal(2, "05-01T09:00:00", "appointmentscheduled", 2)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created contact 1 04-01T09:00",
)
def contact_taken_off_the_deal(story: Story) -> None:
    """whoever is taken off the deal no longer repeats it"""
    story.company(1)
    story.contact(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1, [1])
    story.life("04-01T09:00:00", "opportunity", 1)
    story.part("05-02T09:00:00", ("deals", 1), ("contacts", 1))
    story.stage(1, "05-02T09:00:01", "appointmentscheduled", amount=10)


@expects(
    "opportunity_created deal 1 01-20T09:00", "customer_won deal 1 01-20T09:00", "lead_captured contact 1 03-01T09:00"
)
def imported_after_the_fact(story: Story) -> None:
    """imported long after the fact: at the close date"""
    story.company(1)
    story.contact(1, "03-01T09:00:00", source="IMPORT", lifecyclestage="lead")
    story.deal(1, "03-01T09:00:00", "closedwon", 1, closedate="2026-01-20T09:00:00Z", source="IMPORT")


@expects("lead_captured contact 1 03-01T09:00")
def internal_contact(story: Story) -> None:
    """our own people are marked, and still no milestone is lost"""
    story.contact(1, "03-01T09:00:00", lifecyclestage="lead", email="tester@vendor.example")


@expects(
    *(
        f"{name} deal {n} {when}"
        for n, when in ((1, "03-01T09:00"), (3, "03-09T09:00"))
        for name in ("opportunity_created", "customer_won" if n == 1 else "customer_expanded")
    ),
    "opportunity_created deal 2 03-05T09:00",
    "customer_expanded deal 2 03-05T09:00 reversed:lost_after_won",
)
def win_taken_back_between_two(story: Story) -> None:
    """a win taken back between two others gives its touches to the third"""
    story.company(1)
    story.contact(1, company=1)
    story.click("02-20T09:00:00", 1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1)
    story.click("03-03T09:00:00", 1)
    story.deal(2, "03-05T09:00:00", "closedwon", 1)
    story.click("03-07T09:00:00", 1)
    story.deal(3, "03-09T09:00:00", "closedwon", 1)
    story.stage(2, "05-02T09:00:00", "closedlost")


@expects("opportunity_created deal 1 03-05T09:00", "customer_won deal 1 03-05T09:00")
def form_of_a_merged_contact(story: Story) -> None:
    """the form of a contact that is merged into a third record after the win"""
    story.company(1)
    story.contact(1, company=1)
    story.contact(2, company=1)
    story.submit("03-01T09:00:00", 1)
    story.deal(1, "03-05T09:00:00", "closedwon", 1)
    story.merge("contacts", "05-02T09:00:00", 1, 2, 3)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00",
    "customer_expanded deal 1 05-01T09:00",
    "opportunity_created deal 2 06-01T09:00",
    "customer_expanded deal 2 06-01T09:00",
)
def won_again_in_an_expansion_pipeline(story: Story) -> None:
    """a won deal that is moved into the expansion pipeline and won there: a second fact, the first as it was"""
    story.company(1)
    story.contact(1, company=1)
    story.deal(1, "03-01T09:00:00", "contacted", 1, [1], pipeline="selling", amount="100")
    story.stage(1, "03-05T09:00:00", "sold")
    story.life("03-05T10:00:00", "customer", 1)
    story.stage(1, "04-01T09:00:00", "planned", pipeline="upsell")
    story.stage(1, "05-01T09:00:00", "upsold", amount="300")
    story.deal(2, "06-01T09:00:00", "upsold", 1, pipeline="upsell")


@expects("opportunity_created deal 1 03-01T09:00", "customer_won deal 1 03-05T09:00")
def won_stage_tidied_into_another_pipeline(story: Story) -> None:
    """a won deal that is moved into the won stage of another pipeline of its kind: won once, on the first day"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "contacted", 1, pipeline="selling", amount="5000", closedate="2026-03-05T09:00:00Z")
    story.stage(1, "03-05T09:00:00", "sold")
    story.stage(1, "05-01T09:00:00", "closedwon", pipeline="default")


@expects("customer_won contact 4 03-05T09:00")
def repeats_a_deal_without_milestones(story: Story) -> None:
    """HubSpot repeats deals of an ignored and of an unmapped pipeline on their contacts: no milestone; apart from them
    it is one"""
    story.company(1)
    story.contact(1, company=1)
    story.deal(1, "03-01T09:00:00", "talking", 1, [1], pipeline="partners")
    story.life("03-01T09:00:02", "opportunity", 1)
    story.stage(1, "03-10T09:00:00", "signed")
    story.life("03-10T09:00:02", "customer", 1)
    story.contact(2)
    story.deal(2, "03-01T09:00:00", "trying", contacts=[2], pipeline="trials")
    story.life("03-01T09:00:02", "opportunity", 2)
    story.contact(4)
    story.deal(4, "03-03T08:00:00", "signed", contacts=[4], pipeline="partners")
    story.life("03-05T09:00:00", "customer", 4)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "demo_completed deal 1 03-09T09:00",
)
def first_there_after_reopening(story: Story) -> None:
    """lost, and reopened into a stage it never was in: it is there for the first time"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-05T09:00:00", "closedlost")
    story.stage(1, "03-09T09:00:00", "presentationscheduled")
