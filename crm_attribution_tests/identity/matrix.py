"""More of the milestone matrix: money and days after the fact, pipelines, kinds of deals, and people who move on."""

from __future__ import annotations

from crm_attribution_tests.flow.cases import story

s = story(
    "the company's stage is synced to every contact, twice",
    "opportunity_created deal 1 03-05T09:00",
    "meeting_scheduled deal 1 03-05T09:00",
    "customer_won deal 1 03-08T09:00",
)
s.company(1)
for number in range(1, 6):
    s.contact(number, company=1)
s.deal(1, "03-05T09:00:00", "appointmentscheduled", 1, [1])
s.company_life(1, "03-05T09:00:02", "opportunity")
s.life("03-05T09:00:03", "opportunity", 1, 2, 3, 4, 5)
s.stage(1, "03-08T09:00:00", "closedwon")
s.company_life(1, "03-08T09:00:02", "customer")
s.life("03-08T09:00:03", "customer", 1, 2, 3)
s.life("03-11T09:00:00", "customer", 4, 5)

AMOUNT_LATER = s = story(
    "the amount is typed a day after the win, and corrected",
    "opportunity_created deal 1 03-05T09:00",
    "customer_won deal 1 03-05T09:00",
)
s.company(1)
s.deal(1, "03-05T09:00:00", "closedwon", 1, billing_period="annual")
s.stage(1, "03-06T09:00:00", "closedwon", amount="1200")
s.stage(1, "03-20T09:00:00", "closedwon", amount="1500.50")

CURRENCY_LATER = s = story(
    "the win's currency is corrected",
    "opportunity_created deal 1 03-05T09:00",
    "customer_won deal 1 03-05T09:00",
)
s.company(1)
s.deal(1, "03-05T09:00:00", "closedwon", 1, amount="1000", deal_currency_code="EUR")
s.stage(1, "04-02T09:00:00", "closedwon", deal_currency_code="USD")

TYPED_BACK = s = story(
    "the close date is typed back over the month's end, late in the evening in Berlin",
    "opportunity_created deal 1 03-01T09:00",
    "proposal_sent deal 1 03-01T09:00",
    "customer_won deal 1 04-02T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "contractsent", 1)
s.stage(1, "04-02T09:00:00", "closedwon", closedate="2026-04-02T09:00:00Z")
s.stage(1, "04-03T09:00:00", "closedwon", closedate="2026-03-30T22:30:00Z")

s = story(
    "an admin sets thirty deals to won and takes it back within the hour",
    *(f"{name} deal {n} 03-01T09:00" for n in range(1, 31) for name in ("opportunity_created", "meeting_scheduled")),
)
s.company(1)
for number in range(1, 31):
    s.deal(number, "03-01T09:00:00", "appointmentscheduled", 1)
    s.stage(number, "03-10T09:00:00", "closedwon")
    s.stage(number, "03-10T09:40:00", "appointmentscheduled")

RENEWED = s = story(
    "won, expanded, renewed at another price, lost a renewal, renewed again",
    *(f"opportunity_created deal {n} {when}" for n, when in (
        (1, "02-01T09:00"), (2, "03-01T09:00"), (3, "04-01T09:00"), (4, "05-01T09:00"), (5, "05-20T09:00"))),
    "customer_won deal 1 02-01T09:00",
    "customer_expanded deal 2 03-01T09:00",
    "customer_expanded deal 3 04-01T09:00",
    "customer_expanded deal 4 05-01T09:00 reversed:lost_after_won",
    "customer_expanded deal 5 05-20T09:00",
)  # fmt: skip
s.company(1)
s.deal(1, "02-01T09:00:00", "closedwon", 1, amount="12000", billing_period="annual")
s.deal(2, "03-01T09:00:00", "closedwon", 1, amount="3000", billing_period="annual")
s.deal(3, "04-01T09:00:00", "renewed", 1, amount="18000", billing_period="annual", pipeline="renewals")
s.deal(4, "05-01T09:00:00", "renewed", 1, amount="99000", billing_period="annual", pipeline="renewals")
s.stage(4, "05-02T09:00:00", "churned")
s.deal(5, "05-20T09:00:00", "renewed", 1, amount="17000", billing_period="annual", pipeline="renewals")

EXISTING = s = story(
    "existing business in the pipeline for new: an expansion; at one instant new business is the first",
    "opportunity_created deal 1 03-01T09:00",
    "customer_expanded deal 1 03-01T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "customer_won deal 2 03-01T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "closedwon", 1, dealtype="existingbusiness")
s.deal(2, "03-01T09:00:00", "closedwon", 1, dealtype="newbusiness")

REUSED = s = story(
    "a won deal that is moved into the renewal pipeline stays won, and is renewed",
    "opportunity_created deal 1 03-01T09:00",
    "customer_won deal 1 03-01T09:00",
    "customer_expanded deal 1 05-01T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "closedwon", 1)
s.stage(1, "04-01T09:00:00", "due", pipeline="renewals")
s.stage(1, "05-01T09:00:00", "renewed")

s = story(
    "a won deal that a workflow moves on into an ignored pipeline at once stays won",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "customer_won deal 1 03-05T09:00",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.stage(1, "03-05T09:00:00", "closedwon")
s.stage(1, "03-05T09:00:05", "talking", pipeline="partners")

s = story(
    "begun in the wrong pipeline, moved within the hour",
    "opportunity_created deal 1 03-01T09:20",
    "negotiation_started deal 1 03-01T09:20",
)
s.company(1)
s.deal(1, "03-01T09:00:00", "due", 1, pipeline="renewals")
s.stage(1, "03-01T09:20:00", "decisionmakerboughtin", pipeline="default")

s = story(
    "a contact in three companies belongs to the primary one",
    "customer_won company 2 03-05T09:00",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
)
for number in (1, 2, 3):
    s.company(number)
s.contact(1)
for number in (1, 3, 2):
    s.join("01-02T09:00:00", ("contacts", 1), ("companies", number))
s.deal(1, "03-01T09:00:00", "appointmentscheduled", 1)
s.life("03-05T09:00:00", "customer", 1)

s = story(
    "a job changer: the old company's customer stays its own, the new one's is another",
    "lead_captured contact 1 02-01T09:00",
    "customer_won company 1 03-01T09:00",
    "opportunity_created company 2 06-02T09:00",
)
s.company(1)
s.company(2)
s.contact(1, "02-01T09:00:00", lifecyclestage="lead")
s.join("02-01T09:00:00", ("contacts", 1), ("companies", 1))
s.contact(2, company=2)
s.life("03-01T09:00:00", "customer", 1)
s.part("05-01T09:00:00", ("contacts", 1), ("companies", 1))
s.join("05-01T09:00:00", ("contacts", 1), ("companies", 2))
s.life("06-02T09:00:00", "opportunity", 2)

s = story(
    "created already won, imported: last year's close date",
    "opportunity_created deal 1 01-20T09:00",
    "customer_won deal 1 01-20T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "customer_expanded deal 2 03-01T09:00",
)
s.company(1)
s.deal(1, "03-02T09:00:00", "closedwon", 1, closedate="2026-01-20T09:00:00Z", source="IMPORT")
s.deal(2, "03-01T09:00:00", "closedwon", 1)

s = story("an evangelist is nothing by itself", "lead_captured contact 1 03-01T09:00")
s.contact(1, "03-01T09:00:00", lifecyclestage="lead")
s.life("03-05T09:00:00", "evangelist", 1)

TEST_DEAL = s = story(
    "a deal with internal contacts only",
    "opportunity_created deal 1 03-01T09:00",
    "meeting_scheduled deal 1 03-01T09:00",
    "opportunity_created deal 2 03-01T09:00",
    "meeting_scheduled deal 2 03-01T09:00",
)
s.contact(1, email="qa+test@buyer.example")
s.contact(2, email="second@vendor.example")
s.contact(3)
s.deal(1, "03-01T09:00:00", "appointmentscheduled", contacts=[1, 2])
s.deal(2, "03-01T09:00:00", "appointmentscheduled", contacts=[1, 3])
