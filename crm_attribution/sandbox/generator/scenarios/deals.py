"""Deals: imported, reopened, re-priced, renewed, expanded, incomplete. Scenarios 30 to 40."""

from __future__ import annotations

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.catalog import FACEBOOK, GOOGLE, LINKEDIN, PARTNER, Channel
from crm_attribution.sandbox.generator.lines import Ref
from crm_attribution.sandbox.generator.scenarios.story import Story, amount, moment, sums


def buyer(
    story: Story, when: str, place: int, brand: str, name: str, channel: Channel | None = GOOGLE
) -> tuple[Ref, Ref]:
    """A company with one person, who came over an ad or, without a channel, with an import of customers."""
    domain = f"{brand.lower()}.example"
    source, stage = ("FORM", "lead") if channel else ("IMPORT", "customer")
    company = story.found(when, place, f"{brand} GmbH", domain, stage=stage, source="CRM_UI" if channel else source)
    email = f"{name.lower().replace(' ', '.')}@{domain}"
    story.enter(f"{when}:30", place, email, name, company=company, channel=channel, stage=stage, source=source)
    return company, story.contact(place)


def imported_wins(story: Story) -> None:
    """30: 593001 and 593002 imported on 3 March, 593003 and 593004 on Thursday; all won last year."""
    for place, brand in enumerate(("Kalmbrook", "Stellvar", "Norwede", "Jutrand"), start=1):
        when = "03-03 09:04" if place < 3 else "03-12 14:04"
        company, person = buyer(story, when, place, brand, f"Jo Altmann{place}", None)
        values = sums(300 + 100 * place)
        values |= {"createdate": f"2025-0{place}-11T08:00:00Z", "closedate": f"2025-0{place + 3}-18T15:00:00Z"}
        name = f"{brand} - Contract 2025"
        story.open(
            f"{when}:50", place, name, values, company=company, people=[person], stage="closedwon", source="IMPORT"
        )


def created_won(story: Story) -> None:
    """31: 593101 is typed in after it was signed, 593102 comes won from the shop's API."""
    cases = ((1, "Orvelle", "03-12 15:45", "CRM_UI"), (2, "Pinmark", "03-13 11:05", "API"))
    for place, brand, when, source in cases:
        company, person = buyer(
            story, ("03-09 10:20", "03-10 10:20")[place - 1], place, brand, f"Nina Bartel{place}", LINKEDIN
        )
        values = {**sums(490), "closedate": f"2026-{when.replace(' ', 'T')}:00Z"}
        name = f"{brand} - Platform"
        story.open(when, place, name, values, company=company, people=[person], stage="closedwon", source=source)
        story.echo(when, "customer", person, company)


def reopened(story: Story) -> None:
    """32: 593201 won on Monday, reopened on Thursday for a larger scope, won again on Friday."""
    company, person = buyer(story, "03-03 11:00", 1, "Dunvalo", "Amelie Roth")
    deal = story.open("03-05 11:00", 1, "Dunvalo - Platform", sums(990), company=company, people=[person])
    story.echo("03-05 11:00", "opportunity", person, company)
    story.win("03-09 15:30", deal)
    story.echo("03-09 15:30", "customer", person, company)
    story.change("03-12 11:00", deal, {"dealstage": "contractsent"})
    story.win("03-13 11:25", deal, sums(1290))


def lost(story: Story) -> None:
    """33: 593301 is lost on Thursday; 593302, won on Tuesday, is lost after all on Friday."""
    company, person = buyer(story, "03-06 08:40", 1, "Eskebran", "Karl Voigtel", FACEBOOK)
    deal = story.open("03-10 09:30", 1, "Eskebran - Platform", amount("7080.00"), company=company, people=[person])
    story.echo("03-10 09:30", "opportunity", person, company)
    story.lose("03-12 13:15", deal, "No budget this year")
    company, person = buyer(story, "03-04 08:40", 2, "Lomavik", "Rita Senner", LINKEDIN)
    deal = story.open("03-06 09:30", 2, "Lomavik - Platform", sums(690), company=company, people=[person])
    story.win("03-10 15:00", deal)
    story.echo("03-10 15:00", "customer", person, company)
    story.lose("03-13 10:50", deal, "Contract withdrawn")


def repriced(story: Story) -> None:
    """34: 593401 is worth less on the day after the win; 593402 proves to be in dollars."""
    company, person = buyer(story, "03-05 09:10", 1, "Virelund", "Hedda Blom")
    deal = story.open("03-09 10:30", 1, "Virelund - Platform", sums(1500), company=company, people=[person])
    story.echo("03-09 10:30", "opportunity", person, company)
    story.win("03-12 10:40", deal)
    story.echo("03-12 10:40", "customer", person, company)
    story.change("03-13 10:35", deal, sums(1300))
    company, person = buyer(story, "03-06 09:10", 2, "Cassentra", "Dean Holloway", LINKEDIN)
    deal = story.open("03-10 16:30", 2, "Cassentra - Platform", amount("12000.00"), company=company, people=[person])
    story.win("03-12 15:05", deal)
    story.echo("03-12 15:05", "customer", person, company)
    story.change("03-13 12:20", deal, {"deal_currency_code": "USD", "hs_exchange_rate": catalog.DOLLAR_RATE})


def amount_after_the_win(story: Story) -> None:
    """35: 593501 is won on Friday 10:05, its amount is typed at 10:17."""
    company, person = buyer(story, "03-10 11:10", 1, "Hestmar", "Paula Wieck", FACEBOOK)
    deal = story.open("03-11 13:00", 1, "Hestmar - Platform", company=company, people=[person])
    story.echo("03-11 13:00", "opportunity", person, company)
    story.win("03-13 10:05", deal)
    story.echo("03-13 10:05", "customer", person, company)
    story.change("03-13 10:17", deal, amount("8280.00"))


def renewals(story: Story) -> None:
    """36: of three customers of last year one renews for more (593611), one churns (593612), one is due (593613)."""
    ends = (("03-12 15:10", catalog.RENEWED), ("03-13 12:40", catalog.CHURNED), (None, None))
    for place, (brand, (end, stage)) in enumerate(zip(("Tormund", "Belvika", "Sandrel"), ends, strict=True), start=1):
        company, person = buyer(story, f"03-02 08:{20 + place}", place, brand, f"Ute Renner{place}", None)
        old = {**sums(600), "createdate": "2025-02-03T08:00:00Z", "closedate": f"2025-03-1{place}T12:00:00Z"}
        name, people = f"{brand} - Contract 2025", [person]
        when = f"03-02 08:{20 + place}:50"
        story.open(when, place, name, old, company=company, people=people, stage="closedwon", source="IMPORT")
        due = {**sums(600), "pipeline": catalog.RENEWALS, "dealtype": "existingbusiness"}
        day = ("03-09", "03-10", "03-11")[place - 1]
        name = f"{brand} - Renewal 2026"
        deal = story.open(
            f"{day} 07:30",
            10 + place,
            name,
            due,
            company=company,
            people=people,
            stage=catalog.RENEWAL_DUE,
            source="INTEGRATION",
        )
        story.change(f"{day} 14:00", deal, {"dealstage": catalog.RENEWAL_TALKS})
        if end and stage:
            more = sums(750) if stage == catalog.RENEWED else {}
            story.change(end, deal, {"dealstage": stage, "closedate": f"2026-{end.replace(' ', 'T')}:00Z", **more})


def expansion(story: Story) -> None:
    """37: 593701 was the first win of the account, 593702 on Friday is its second."""
    company, person = buyer(story, "03-02 10:10", 1, "Ryvendal", "Ole Sandberg", LINKEDIN)
    first = story.open("03-03 10:30", 1, "Ryvendal - Platform", sums(890), company=company, people=[person])
    story.echo("03-03 10:30", "opportunity", person, company)
    story.win("03-06 14:00", first)
    story.echo("03-06 14:00", "customer", person, company)
    story.click("03-11 10:12", GOOGLE, "product/seats", person)
    more = {**sums(290), "dealtype": "existingbusiness"}
    second = story.open("03-12 09:30", 2, "Ryvendal - 20 more seats", more, company=company, people=[person])
    story.win("03-13 11:50", second)


def half_attached(story: Story) -> None:
    """38: 593801 has no company, 593802 no contacts, 593803 neither; all are won."""
    company, person = buyer(story, "03-06 15:00", 1, "Gravelund", "Toni Ebner", PARTNER)
    ways: tuple[tuple[Ref | None, list[Ref]], ...] = ((None, [person]), (company, []), (None, []))
    for place, (owner, people) in enumerate(ways, start=1):
        values = amount(f"{3000 * place}.00")
        deal = story.open(
            f"03-1{place - 1} 16:00", place, f"Gravelund part {place}", values, company=owner, people=people
        )
        story.win(("03-12 10:25", "03-12 16:45", "03-13 12:05")[place - 1], deal)


def archived_and_recreated(story: Story) -> None:
    """39: 593901 is archived and typed again as 593902; 593903 is won, archived by mistake and restored."""
    company, person = buyer(story, "03-09 09:50", 1, "Fjordane", "Vera Quist")
    one = story.open("03-10 10:00", 1, "Fjordane - Platform", sums(590), company=company, people=[person])
    story.echo("03-10 10:00", "opportunity", person, company)
    story.log.state(moment("03-12 13:10"), "archive", one)
    two = story.open("03-13 10:40", 2, "Fjordane - Platform", sums(590), company=company, people=[person])
    story.change("03-13 12:15", two, {"dealstage": "contractsent"})
    company, person = buyer(story, "03-04 09:50", 3, "Nybrolin", "Lars Ekholt", LINKEDIN)
    three = story.open("03-06 10:00", 3, "Nybrolin - Platform", sums(390), company=company, people=[person])
    story.win("03-11 10:00", three)
    story.echo("03-11 10:00", "customer", person, company)
    story.log.state(moment("03-12 12:00"), "archive", three)
    story.log.state(moment("03-13 11:10"), "restore", three)


def currencies(story: Story) -> None:
    """40: one account buys in euros (594001) and in dollars (594002); 594003 never gets an amount."""
    company, person = buyer(story, "03-05 13:00", 1, "Atlarion", "June Pardoe", GOOGLE)
    people = [person]
    euros = story.open("03-09 09:00", 1, "Atlarion Europe", sums(1990), company=company, people=people)
    dollars = story.open(
        "03-10 15:00", 2, "Atlarion Americas", sums(2490, 24), company=company, people=people, currency="USD"
    )
    nothing = story.open("03-11 15:00", 3, "Atlarion pilot", company=company, people=people)
    story.win("03-12 14:45", euros)
    story.echo("03-12 14:45", "customer", person, company)
    story.win("03-13 12:35", dollars)
    story.win("03-13 09:20", nothing)


WRITERS = {
    30: imported_wins,
    31: created_won,
    32: reopened,
    33: lost,
    34: repriced,
    35: amount_after_the_win,
    36: renewals,
    37: expansion,
    38: half_attached,
    39: archived_and_recreated,
    40: currencies,
}
