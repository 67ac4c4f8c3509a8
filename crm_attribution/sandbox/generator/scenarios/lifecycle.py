"""Lifecycle stages: echoes, recycling, imports, consent, unusual values. Scenarios 20 to 27."""

from __future__ import annotations

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.catalog import FACEBOOK, GOOGLE, LINKEDIN, NEWSLETTER, PARTNER
from crm_attribution.sandbox.generator.lines import SECOND, Line
from crm_attribution.sandbox.generator.names import mailbox, person
from crm_attribution.sandbox.generator.scenarios.story import Story, amount, moment, sums

MQL, SQL = "marketingqualifiedlead", "salesqualifiedlead"


def echoes_at_once(story: Story) -> None:
    """20: deal 592001 moves all three contacts and the company, when created and again when won."""
    company = story.found("03-05 09:00", 1, "Albrun Textil GmbH", "albrun.example")
    people = (("Jule Karsten", GOOGLE), ("Sven Ottmar", LINKEDIN), ("Zoe Linder", FACEBOOK))
    for place, (name, channel) in enumerate(people, start=1):
        email = f"{name.lower().replace(' ', '.')}@albrun.example"
        story.enter(f"03-0{4 + place} 09:30", place, email, name, company=company, channel=channel)
    everybody = [story.contact(place) for place in (1, 2, 3)]
    story.move("03-09 10:00", everybody[0], MQL)
    story.move("03-10 10:00", everybody[0], SQL)
    deal = story.open("03-12 11:30", 1, "Albrun - Platform", amount("23880.00"), company=company, people=everybody[:1])
    story.log.associate(moment("03-12 11:30:01"), deal, everybody[2], label=catalog.DECISION_MAKER)
    story.echo("03-12 11:30", "opportunity", *everybody, company)
    for when, stage in (("03-12 13:50", "presentationscheduled"), ("03-12 16:20", "contractsent")):
        story.change(when, deal, {"dealstage": stage})
    story.win("03-13 10:30", deal, sums(1990))
    story.echo("03-13 10:30", "customer", *everybody, company)


def echoes_days_later(story: Story) -> None:
    """21: deal 592101 was won on Monday; a workflow moves the lifecycle stages on Thursday."""
    company = story.found("03-03 10:00", 1, "Vestero Foods SE", "vestero.example")
    story.enter("03-03 10:04", 1, "ida.moberg@vestero.example", "Ida Moberg", company=company, channel=GOOGLE)
    story.enter("03-05 10:04", 2, "finn.aaker@vestero.example", "Finn Aaker", company=company, channel=PARTNER)
    both = [story.contact(1), story.contact(2)]
    deal = story.open("03-06 09:00", 1, "Vestero - Platform", amount("5880.00"), company=company, people=both)
    story.win("03-09 10:02", deal, sums(490))
    story.echo("03-09 10:02", "opportunity", *both, company)
    story.echo("03-12 10:30", "customer", *both, company)


def recycled(story: Story) -> None:
    """22: 192201 cleared and qualified again, 192202 moved straight back, 192203 by its lead status only."""
    company = story.found("03-04 08:00", 1, "Rodvik Systems AG", "rodvik.example")
    for place, name in ((1, "Petra Holm"), (2, "Arne Weiss"), (3, "Lina Sturm")):
        email = f"{name.lower().replace(' ', '.')}@rodvik.example"
        story.enter(f"03-04 08:1{place}", place, email, name, company=company, channel=LINKEDIN)
        story.move(f"03-06 09:0{place}", story.contact(place), MQL)
    one, two, three = (story.contact(place) for place in (1, 2, 3))
    story.move("03-10 14:00:00", one, "")
    story.move("03-10 14:00:02", one, "lead")
    story.move("03-12 15:20", one, MQL)
    story.move("03-09 11:00", two, SQL)
    story.move("03-12 11:45", two, MQL)
    story.change("03-12 12:10", three, {"hs_lead_status": "RECYCLED"})
    story.change("03-13 11:02", three, {"hs_lead_status": "OPEN"})


def left_within_minutes(story: Story) -> None:
    """23: 192301 is a qualified lead for six minutes, 192302 an accepted one for four."""
    story.enter("03-12 12:30", 1, "oda.krause@freemail.example", "Oda Krause", channel=GOOGLE)
    story.move("03-12 13:00", story.contact(1), MQL)
    story.move("03-12 13:06", story.contact(1), "")
    story.move("03-12 13:06:01", story.contact(1), "lead")
    story.enter("03-11 12:30", 2, "ben.fiedler@freemail.example", "Ben Fiedler", channel=FACEBOOK)
    story.move("03-12 09:00", story.contact(2), MQL)
    story.move("03-13 10:10", story.contact(2), SQL)
    story.move("03-13 10:14", story.contact(2), "")
    story.move("03-13 10:14:01", story.contact(2), MQL)


def stages_without_deals(story: Story) -> None:
    """24: 192401 is set to opportunity, its deal follows two days later; 192402 becomes a customer without any."""
    for place, name, channel in ((1, "Cora Nyberg", GOOGLE), (2, "Till Reiners", LINKEDIN)):
        domain = ("salvikon.example", "mordalen.example")[place - 1]
        company = story.found(f"03-09 09:0{place}", place, f"{domain.split('.')[0].title()} GmbH", domain)
        email = f"{name.lower().replace(' ', '.')}@{domain}"
        story.enter(f"03-09 09:1{place}", place, email, name, company=company, channel=channel)
    story.move("03-11 12:05", story.contact(1), "opportunity")
    story.open(
        "03-13 12:30", 1, "Salvikon - Platform", amount("9480.00"), company=story.company(1), people=[story.contact(1)]
    )
    story.move("03-12 10:20", story.contact(2), "customer")


def unusual_stages(story: Story) -> None:
    """25: 192501 a numeric stage, 192502 mixed case, 192503 an evangelist, 192504 `other`."""
    company = story.found("03-09 13:00", 1, "Tolvera Labs GmbH", "tolvera.example")
    for place, name in ((1, "Runa Beck"), (2, "Max Oehler"), (3, "Ella Frost"), (4, "Jon Pape")):
        email = f"{name.lower().replace(' ', '.')}@tolvera.example"
        story.enter(f"03-09 13:1{place}", place, email, name, company=company, channel=GOOGLE)
    story.move("03-12 10:50", story.contact(1), catalog.CUSTOM_STAGE)
    story.move("03-12 14:10", story.contact(1), SQL)
    story.move("03-12 11:20", story.contact(2), "MarketingQualifiedLead", "API")
    story.move("03-13 10:55", story.contact(2), "SalesQualifiedLead", "API")
    story.move("03-10 10:00", story.contact(3), "customer")
    story.move("03-12 16:40", story.contact(3), "evangelist")
    story.move("03-13 11:48", story.contact(4), "other")


def imported_in_bulk(story: Story) -> None:
    """26: 192601 to 192660 with one timestamp on 3 March; 192661 to 192668 from a trade fair on Thursday."""
    for place in range(1, 69):
        fair = place > 60
        first, last = person(story.rng)
        when = "03-12 14:00" if fair else "03-03 09:00"
        email = f"{mailbox(first, last)}.{place}@{'messe' if fair else 'liste'}{place % 17}.example"
        consent = "granted" if fair else None
        stage = MQL if fair else "lead"
        story.enter(when, place, email, f"{first} {last}", stage=stage, source="IMPORT", consent=consent)


def consent_of_all_kinds(story: Story) -> None:
    """27: 192701 granted, 192702 denied, 192703 silent and granted later, 192704 withdrawn, 192705 wants no mail."""
    company = story.found("03-12 09:00", 1, "Nordhag Metrics GmbH", "nordhag.example")
    cases = (
        ("Mia Falk", "granted"),
        ("Ole Bahr", "denied"),
        ("Una Graf", None),
        ("Kai Thoma", "granted"),
        ("Ina Rost", "granted"),
    )
    for place, (name, consent) in enumerate(cases, start=1):
        email = f"{name.lower().replace(' ', '.')}@nordhag.example"
        extra: Line = {"hs_email_optout": "true"} if place == 5 else {}
        when = f"03-12 10:{10 + place}" if place < 4 else f"03-13 09:{10 + place}"
        story.enter(when, place, email, name, company=company, channel=GOOGLE, consent=consent, more=extra)
        story.log.update(
            moment(when) + 70 * SECOND, story.contact(place), "AUTOMATION_PLATFORM", {"lifecyclestage": MQL}
        )
    story.change("03-13 11:30", story.contact(3), {"ad_consent": "granted"}, "FORM")
    story.change("03-13 10:02", story.contact(4), {"ad_consent": "denied"}, "FORM")
    story.click("03-13 10:01", NEWSLETTER, "newsletter", story.contact(4))


WRITERS = {
    20: echoes_at_once,
    21: echoes_days_later,
    22: recycled,
    23: left_within_minutes,
    24: stages_without_deals,
    25: unusual_stages,
    26: imported_in_bulk,
    27: consent_of_all_kinds,
}
