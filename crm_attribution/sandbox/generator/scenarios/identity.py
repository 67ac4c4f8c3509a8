"""Who is who: merges, several companies, shared addresses, forwarded mails, deletions. Scenarios 1 to 12."""

from __future__ import annotations

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.catalog import FACEBOOK, GOOGLE, LINKEDIN, NEWSLETTER
from crm_attribution.sandbox.generator.scenarios.story import Story, amount, moment, sums

MQL, SQL = "marketingqualifiedlead", "salesqualifiedlead"


def merge_keeping_the_primary(story: Story) -> None:
    """1: 190101 absorbs 190102 and keeps its id, after both became qualified leads."""
    company = story.found("03-09 09:10", 1, "Torvane Optik GmbH", "torvane-optik.example")
    story.enter("03-09 09:12", 1, "ulla.brandis@torvane-optik.example", "Ulla Brandis", company=company, channel=GOOGLE)
    story.move("03-09 09:13:20.500", story.contact(1), MQL, "AUTOMATION_PLATFORM")
    story.enter("03-12 11:05", 2, "u.brandis@torvane-optik.example", "Ulla Brandis", company=company, channel=LINKEDIN)
    story.move("03-12 11:06:10", story.contact(2), MQL, "AUTOMATION_PLATFORM")
    story.merge("03-12 14:20:00.137", story.contact(1), story.contact(2))
    story.move("03-13 10:12", story.contact(1), SQL)


def merge_into_a_third(story: Story) -> None:
    """2: 190201 and 190202 become 190203, as merges have been since 2025."""
    company = story.found("03-05 10:00", 1, "Pelikor Software AG", "pelikor.example")
    story.enter("03-05 10:02", 1, "rasmus.egede@pelikor.example", "Rasmus Egede", company=company, channel=FACEBOOK)
    story.enter("03-12 10:30", 2, "r.egede@pelikor.example", "Rasmus Egede", company=company, channel=GOOGLE)
    story.move("03-12 10:31:05.250", story.contact(2), MQL, "AUTOMATION_PLATFORM")
    story.merge("03-12 13:40:00.137", story.contact(2), story.contact(1), story.contact(3))
    story.move("03-12 15:00", story.contact(3), SQL)
    deal = story.open(
        "03-13 10:26", 1, "Pelikor - Platform", amount("21600.00"), company=company, people=[story.contact(3)]
    )
    story.echo("03-13 10:26", "opportunity", story.contact(3), company)
    story.win("03-13 12:50", deal, sums(1800))
    story.echo("03-13 12:50", "customer", story.contact(3), company)


def merge_chain(story: Story) -> None:
    """3: 190301 + 190302 become 190303, which with 190304 becomes 190305. An old mail still says 190301."""
    company = story.found("03-04 08:30", 1, "Grunvik Logistik SE", "grunvik.example")
    story.enter("03-04 08:32", 1, "maren.oltmann@grunvik.example", "Maren Oltmann", company=company, channel=LINKEDIN)
    story.enter("03-06 14:00", 2, "m.oltmann@grunvik.example", "Maren Oltmann", company=company, form=catalog.WEBINAR)
    story.merge("03-11 09:30:00.137", story.contact(1), story.contact(2), story.contact(3))
    story.enter("03-12 12:40", 4, "maren.oltmann@freemail.example", "Maren Oltmann", channel=GOOGLE)
    story.move("03-12 12:41", story.contact(4), MQL, "AUTOMATION_PLATFORM")
    story.merge("03-13 10:20:00.137", story.contact(3), story.contact(4), story.contact(5))
    story.click("03-13 11:15", NEWSLETTER, "blog", story.contact(1))
    story.move("03-13 11:40", story.contact(5), SQL)


def companies_merge(story: Story) -> None:
    """4: 390401 and 390402, each with a won deal, become 390403."""
    one = story.found("03-03 09:20", 1, "Halvex Energie GmbH", "halvex.example")
    two = story.found("03-04 09:20", 2, "Halvex Energie Sued", "halvex-sued.example")
    story.enter("03-03 09:25", 1, "dorte.kamp@halvex.example", "Dorte Kamp", company=one, channel=GOOGLE)
    story.enter("03-04 09:25", 2, "ivo.renner@halvex-sued.example", "Ivo Renner", company=two, channel=LINKEDIN)
    for place, company, opened, won in ((1, one, "03-05 13:00", "03-10 09:40"), (2, two, "03-09 13:00", "03-12 12:30")):
        person = story.contact(place)
        name = f"Halvex - Platform {place}"
        deal = story.open(opened, place, name, amount("9480.00"), company=company, people=[person])
        story.echo(opened, "opportunity", person, company)
        story.win(won, deal, sums(790))
        story.echo(won, "customer", person, company)
    story.merge("03-12 16:10:00.137", one, two, story.company(3))


def deals_merge(story: Story) -> None:
    """5: two colleagues of the sales team opened 590501 and 590502 for the same thing: 590503."""
    company = story.found("03-09 10:00", 1, "Sorrento Handel KG", "sorrento-handel.example")
    story.enter("03-09 10:05", 1, "tilde.vos@sorrento-handel.example", "Tilde Vos", company=company, channel=FACEBOOK)
    person = [story.contact(1)]
    one = story.open("03-11 10:00", 1, "Sorrento - Platform", amount("5880.00"), company=company, people=person)
    two = story.open("03-12 10:10", 2, "Sorrento Handel", amount("5880.00"), company=company, people=person)
    story.echo("03-11 10:00", "opportunity", story.contact(1), company)
    story.merge("03-13 09:15:00.137", one, two, story.deal(3))
    story.win("03-13 12:10", story.deal(3), amount("5880.00"))
    story.echo("03-13 12:10", "customer", story.contact(1), company)


def three_companies(story: Story) -> None:
    """6: 190601 advises three companies; 390601 is the primary one, the deal belongs to 390602."""
    names = ("Iduna Beratung", "Kolvar Textil AG", "Brevik Foods BV")
    domains = ("iduna-beratung.example", "kolvar.example", "brevik.example")
    for place, (name, domain) in enumerate(zip(names, domains, strict=True), start=1):
        story.found("03-06 09:00", place, name, domain)
    person = story.contact(1)
    story.enter(
        "03-06 09:30", 1, "iris.dahl@iduna-beratung.example", "Iris Dahl", company=story.company(1), channel=LINKEDIN
    )
    for place in (2, 3):
        story.log.associate(moment(f"03-06 09:3{place}"), person, story.company(place))
    story.move("03-12 10:45", person, MQL)
    story.open("03-12 14:30", 1, "Kolvar - Platform", amount("11880.00"), company=story.company(2), people=[person])
    story.echo("03-12 14:30", "opportunity", person, story.company(2))


def job_changer(story: Story) -> None:
    """7: 190701 wins with 390701, leaves for 390702 on Thursday and opens the next deal there."""
    old = story.found("03-02 09:00", 1, "Wendrup Robotics GmbH", "wendrup.example")
    story.enter("03-02 09:05", 1, "nils.harden@wendrup.example", "Nils Harden", company=old, channel=GOOGLE)
    person = story.contact(1)
    first = story.open("03-04 11:00", 1, "Wendrup - Platform", amount("14280.00"), company=old, people=[person])
    story.echo("03-04 11:00", "opportunity", person, old)
    story.win("03-10 10:00", first, sums(1190))
    story.echo("03-10 10:00", "customer", person, old)
    new = story.found("03-12 14:55", 2, "Ostmar Cloud AG", "ostmar.example")
    at = moment("03-12 15:00")
    story.log.dissociate(at, person, old)
    story.log.associate(at, person, new, primary=True)
    story.change("03-12 15:01", person, {"email": "nils.harden@ostmar.example"})
    story.click("03-13 09:02", LINKEDIN, "product", person)
    story.open("03-13 11:20", 2, "Ostmar - Platform", amount("17880.00"), company=new, people=[person])


def shared_inbox(story: Story) -> None:
    """8: three colleagues fill in forms as info@ (190801); two of them have contacts of their own."""
    company = story.found("03-09 08:00", 1, "Lauterbrok Medizin GmbH", "lauterbrok.example")
    inbox = "info@lauterbrok.example"
    story.enter("03-09 08:05", 1, inbox, "Lauterbrok Medizin", company=company, channel=GOOGLE)
    for when, channel, name in (
        ("03-11 09:00", LINKEDIN, "Edda"),
        ("03-12 13:20", GOOGLE, "Kolja"),
        ("03-13 10:32", FACEBOOK, "Ruth"),
    ):
        click = story.click(when, channel, "demo")
        story.submit(f"{when}:50", catalog.DEMO, inbox, click, firstname=name)
    story.enter("03-12 13:45", 2, "kolja.stamm@lauterbrok.example", "Kolja Stamm", company=company, channel=GOOGLE)
    story.enter("03-13 10:40", 3, "ruth.aigner@lauterbrok.example", "Ruth Aigner", company=company, channel=FACEBOOK)
    story.move("03-12 13:46", story.contact(2), MQL, "AUTOMATION_PLATFORM")
    story.move("03-13 10:41", story.contact(3), MQL, "AUTOMATION_PLATFORM")


def forwarded_mail(story: Story) -> None:
    """9: the mail went to 190901; a colleague, 190902, fills in the form behind the same link."""
    company = story.found("03-10 09:00", 1, "Fenrik Data GmbH", "fenrik.example")
    story.enter("03-10 09:05", 1, "ava.thorsen@fenrik.example", "Ava Thorsen", company=company, form=catalog.SUBSCRIBE)
    click = story.click("03-12 11:52", NEWSLETTER, "demo", story.contact(1))
    story.enter("03-12 12:00", 2, "bo.lindahl@fenrik.example", "Bo Lindahl", company=company, form=catalog.EBOOK)
    story.submit("03-12 12:01", catalog.DEMO, "bo.lindahl@fenrik.example", click)
    story.move("03-12 12:02", story.contact(2), MQL, "AUTOMATION_PLATFORM")


def privacy_deletion(story: Story) -> None:
    """10: 191001 becomes a qualified lead on Thursday and asks to be forgotten on Friday."""
    company = story.found("03-12 11:00", 1, "Quendel Finanz AG", "quendel.example")
    story.enter(
        "03-12 11:08",
        1,
        "greta.solberg@quendel.example",
        "Greta Solberg",
        company=company,
        channel=GOOGLE,
        more={"phone": "+49 30 23125 771"},
    )
    story.move("03-12 11:10", story.contact(1), MQL, "AUTOMATION_PLATFORM")
    story.click("03-12 16:30", NEWSLETTER, "customers", story.contact(1))
    story.log.state(moment("03-13 12:15"), "privacy_delete", story.contact(1))


def archived_and_restored(story: Story) -> None:
    """11: 191101 is archived on Thursday 13:00 and restored on Friday 10:45."""
    company = story.found("03-11 12:00", 1, "Miravo Retail GmbH", "miravo.example")
    story.enter("03-11 12:05", 1, "leo.hansson@miravo.example", "Leo Hansson", company=company, channel=FACEBOOK)
    story.move("03-12 10:15", story.contact(1), MQL)
    story.log.state(moment("03-12 13:00"), "archive", story.contact(1))
    story.log.state(moment("03-13 10:45"), "restore", story.contact(1))
    story.move("03-13 12:25", story.contact(1), SQL)


def internal_tests(story: Story) -> None:
    """12: the team tries its own forms (191201, 191202) and its own pipeline (591201)."""
    for place, when in ((1, "03-05 15:00"), (2, "03-13 11:33")):
        email = f"test{place}@{catalog.OWN_DOMAIN}"
        story.enter(when, place, email, "Test Internal", channel=GOOGLE, stage=MQL, form=catalog.PRICING)
    deal = story.open("03-12 15:30", 1, "TEST please ignore", amount("1.00"), people=[story.contact(1)])
    story.win("03-12 15:31", deal)


WRITERS = {
    1: merge_keeping_the_primary,
    2: merge_into_a_third,
    3: merge_chain,
    4: companies_merge,
    5: deals_merge,
    6: three_companies,
    7: job_changer,
    8: shared_inbox,
    9: forwarded_mail,
    10: privacy_deletion,
    11: archived_and_restored,
    12: internal_tests,
}
