"""Money and days after the fact, pipelines, kinds of deals, and people who move on."""

from __future__ import annotations

from crm_attribution_tests.flow.story import Story, expects


@expects(
    "opportunity_created deal 1 03-05T09:00", "meeting_scheduled deal 1 03-05T09:00", "customer_won deal 1 03-08T09:00"
)
def stage_synced_to_every_contact(story: Story) -> None:
    """the company's stage is synced to every contact, twice"""
    story.company(1)
    for number in range(1, 6):
        story.contact(number, company=1)
    story.deal(1, "03-05T09:00:00", "appointmentscheduled", 1, [1])
    story.company_life(1, "03-05T09:00:02", "opportunity")
    story.life("03-05T09:00:03", "opportunity", 1, 2, 3, 4, 5)
    story.stage(1, "03-08T09:00:00", "closedwon")
    story.company_life(1, "03-08T09:00:02", "customer")
    story.life("03-08T09:00:03", "customer", 1, 2, 3)
    story.life("03-11T09:00:00", "customer", 4, 5)


@expects("opportunity_created deal 1 03-05T09:00", "customer_won deal 1 03-05T09:00")
def amount_typed_later(story: Story) -> None:
    """the amount is typed a day after the win, and corrected"""
    story.company(1)
    story.deal(1, "03-05T09:00:00", "closedwon", 1, billing_period="annual")
    story.stage(1, "03-06T09:00:00", "closedwon", amount="1200")
    story.stage(1, "03-20T09:00:00", "closedwon", amount="1500.50")


@expects("opportunity_created deal 1 03-05T09:00", "customer_won deal 1 03-05T09:00")
def currency_corrected(story: Story) -> None:
    """the win's currency is corrected"""
    story.company(1)
    story.deal(1, "03-05T09:00:00", "closedwon", 1, amount="1000", deal_currency_code="EUR")
    story.stage(1, "04-02T09:00:00", "closedwon", deal_currency_code="USD")


@expects(
    "opportunity_created deal 1 03-01T09:00", "proposal_sent deal 1 03-01T09:00", "customer_won deal 1 04-02T09:00"
)
def close_date_typed_back(story: Story) -> None:
    """the close date is typed back over the month's end, late in the evening in Berlin"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "contractsent", 1)
    story.stage(1, "04-02T09:00:00", "closedwon", closedate="2026-04-02T09:00:00Z")
    story.stage(1, "04-03T09:00:00", "closedwon", closedate="2026-03-30T22:30:00Z")


@expects(
    *(f"{name} deal {n} 03-01T09:00" for n in range(1, 31) for name in ("opportunity_created", "meeting_scheduled"))
)
def bulk_win_taken_back(story: Story) -> None:
    """an admin sets thirty deals to won and takes it back within the hour"""
    story.company(1)
    for number in range(1, 31):
        story.deal(number, "03-01T09:00:00", "appointmentscheduled", 1)
        story.stage(number, "03-10T09:00:00", "closedwon")
        story.stage(number, "03-10T09:40:00", "appointmentscheduled")


@expects(
    *(
        f"opportunity_created deal {n} {when}"
        for n, when in (
            (1, "02-01T09:00"),
            (2, "03-01T09:00"),
            (3, "04-01T09:00"),
            (4, "05-01T09:00"),
            (5, "05-20T09:00"),
        )
    ),
    "customer_won deal 1 02-01T09:00",
    "customer_expanded deal 2 03-01T09:00",
    "customer_expanded deal 3 04-01T09:00",
    "customer_expanded deal 4 05-01T09:00 reversed:lost_after_won",
    "customer_expanded deal 5 05-20T09:00",
)
def renewed_at_another_price(story: Story) -> None:
    """won, expanded, renewed at another price, lost a renewal, renewed again"""
    story.company(1)
    story.deal(1, "02-01T09:00:00", "closedwon", 1, amount="12000", billing_period="annual")
    story.deal(2, "03-01T09:00:00", "closedwon", 1, amount="3000", billing_period="annual")
    story.deal(3, "04-01T09:00:00", "renewed", 1, amount="18000", billing_period="annual", pipeline="renewals")
    story.deal(4, "05-01T09:00:00", "renewed", 1, amount="99000", billing_period="annual", pipeline="renewals")
    story.stage(4, "05-02T09:00:00", "churned")
    story.deal(5, "05-20T09:00:00", "renewed", 1, amount="17000", billing_period="annual", pipeline="renewals")


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "customer_expanded deal 1 03-01T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "customer_won deal 2 03-01T09:00",
)
def existing_business(story: Story) -> None:
    """existing business in the pipeline for new: an expansion; at one instant new business is the first"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1, dealtype="existingbusiness")
    story.deal(2, "03-01T09:00:00", "closedwon", 1, dealtype="newbusiness")


@expects(
    "opportunity_created deal 1 03-01T09:00", "customer_won deal 1 03-01T09:00", "customer_expanded deal 1 05-01T09:00"
)
def moved_into_renewals(story: Story) -> None:
    """a won deal that is moved into the renewal pipeline stays won, and is renewed"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "closedwon", 1)
    story.stage(1, "04-01T09:00:00", "due", pipeline="renewals")
    story.stage(1, "05-01T09:00:00", "renewed")


@expects(
    "opportunity_created deal 1 03-01T09:00", "meeting_scheduled deal 1 03-01T09:00", "customer_won deal 1 03-05T09:00"
)
def moved_into_an_ignored_pipeline(story: Story) -> None:
    """a won deal that a workflow moves on into an ignored pipeline at once stays won"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.stage(1, "03-05T09:00:00", "closedwon")
    story.stage(1, "03-05T09:00:05", "talking", pipeline="partners")


@expects("opportunity_created deal 1 03-01T09:20", "negotiation_started deal 1 03-01T09:20")
def begun_in_the_wrong_pipeline(story: Story) -> None:
    """begun in the wrong pipeline, moved within the hour"""
    story.company(1)
    story.deal(1, "03-01T09:00:00", "due", 1, pipeline="renewals")
    story.stage(1, "03-01T09:20:00", "decisionmakerboughtin", pipeline="default")


@expects(
    "customer_won company 2 03-05T09:00",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
)
def contact_in_three_companies(story: Story) -> None:
    """a contact in three companies belongs to the primary one"""
    for number in (1, 2, 3):
        story.company(number)
    story.contact(1)
    for number in (1, 3, 2):
        story.join("01-02T09:00:00", ("contacts", 1), ("companies", number))
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
    story.life("03-05T09:00:00", "customer", 1)


@expects(
    "lead_captured contact 1 02-01T09:00",
    "customer_won company 1 03-01T09:00",
    "opportunity_created company 2 06-02T09:00",
)
def job_changer(story: Story) -> None:
    """a job changer: the old company's customer stays its own, the new one's is another"""
    story.company(1)
    story.company(2)
    story.contact(1, "02-01T09:00:00", lifecyclestage="lead")
    story.join("02-01T09:00:00", ("contacts", 1), ("companies", 1))
    story.contact(2, company=2)
    story.life("03-01T09:00:00", "customer", 1)
    story.part("05-01T09:00:00", ("contacts", 1), ("companies", 1))
    story.join("05-01T09:00:00", ("contacts", 1), ("companies", 2))
    story.life("06-02T09:00:00", "opportunity", 2)


@expects(
    "opportunity_created deal 1 01-20T09:00",
    "customer_won deal 1 01-20T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "customer_expanded deal 2 03-01T09:00",
)
def imported_as_won(story: Story) -> None:
    """created already won, imported: last year's close date"""
    story.company(1)
    story.deal(1, "03-02T09:00:00", "closedwon", 1, closedate="2026-01-20T09:00:00Z", source="IMPORT")
    story.deal(2, "03-01T09:00:00", "closedwon", 1)


@expects("lead_captured contact 1 03-01T09:00")
def evangelist(story: Story) -> None:
    """an evangelist is nothing by itself"""
    story.contact(1, "03-01T09:00:00", lifecyclestage="lead")
    story.life("03-05T09:00:00", "evangelist", 1)


@expects(
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "meeting_scheduled deal 2 03-01T09:00",
)
def internal_deal(story: Story) -> None:
    """a deal with internal contacts only"""
    story.contact(1, email="qa+test@buyer.example")
    story.contact(2, email="second@vendor.example")
    story.contact(3)
    story.deal(1, "03-01T09:00:00", "appointmentscheduled", contacts=[1, 2])
    story.deal(2, "03-01T09:00:00", "appointmentscheduled", contacts=[1, 3])
