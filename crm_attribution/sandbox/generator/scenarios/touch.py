"""Clicks that are not what they seem, and rows that are plainly wrong. Scenarios 50 to 56 and 60."""

from __future__ import annotations

from crm_attribution.sandbox.generator import catalog
from crm_attribution.sandbox.generator.catalog import BOTS, FACEBOOK, GOOGLE, LINKEDIN, NEWSLETTER
from crm_attribution.sandbox.generator.lines import MINUTE, SECOND, Line
from crm_attribution.sandbox.generator.scenarios.story import Story, amount, moment
from crm_attribution.sandbox.generator.touches import email_click

MQL = "marketingqualifiedlead"


def scanners(story: Story) -> None:
    """50: a gateway opens five links of 195001's mail in eight seconds; HEAD requests; agents known as bots."""
    company = story.found("03-10 08:00", 1, "Skarholm Versand AG", "skarholm.example")
    story.enter("03-10 08:05", 1, "edith.maas@skarholm.example", "Edith Maas", company=company, channel=GOOGLE)
    for minute, day in ((0, "03-12"), (30, "03-13")):
        start = moment(f"{day} 11:{minute:02d}:02")
        for place, path in enumerate(("blog", "customers", "product", "pricing", "imprint")):
            slug = f"ne-mail-{place}"
            story.click(start + place * 2 * SECOND, NEWSLETTER, path, story.contact(1), link_slug=slug)
    story.click("03-12 15:12:40", NEWSLETTER, "blog", story.contact(1))
    for place, agent in enumerate(BOTS):
        story.click(f"03-1{2 + place % 2} 11:2{place}", (GOOGLE, LINKEDIN)[place % 2], "demo", user_agent=agent)
    story.click("03-12 12:00:05", NEWSLETTER, "demo", story.contact(1), method="HEAD")
    story.click("03-13 10:41:05", LINKEDIN, "pricing", None, method="HEAD")


def late_clicks(story: Story) -> None:
    """51: the link service reports the clicks of 195101 and 195102 hours late, and each of them twice."""
    for place, clicked, form, received, name in (
        (1, "03-12 10:20", "03-12 10:24", "03-12 16:05", "Gesa Norden"),
        (2, "03-12 22:10", "03-12 22:15", "03-13 11:10", "Piet Koster"),
    ):
        email = f"{name.lower().replace(' ', '.')}@verspaet{place}.example"
        stamp = f"2026-{clicked.replace(' ', 'T')}:00Z"
        late = story.click(received, (GOOGLE, LINKEDIN)[place - 1], "demo", clicked_at=stamp)
        story.enter(form, place, email, name, form=catalog.PRICING, stage=MQL)
        story.submit(f"{form}:20", catalog.DEMO, email, late)
        at = moment(received)
        story.log.add(at + 45 * MINUTE, "click", click=late.line())


def mail_clicks(story: Story) -> None:
    """52: 195201 clicks in marketing mails; two of the events are filtered, seconds after the send."""
    email = "wiebke.jansen@korrelat.example"
    company = story.found("03-06 10:00", 1, "Korrelat AG", "korrelat.example")
    story.enter("03-06 10:02", 1, email, "Wiebke Jansen", company=company, form=catalog.SUBSCRIBE, stage="subscriber")
    times = (("03-09 09:10", False), ("03-12 10:10:03", True), ("03-12 10:55", False), ("03-13 11:21:02", True))
    for when, filtered in times:
        at = moment(when)
        story.log.add(at, "email_click", event=email_click(story.rng, at, email, filtered=filtered))
    at = moment("03-13 12:02")
    story.log.add(at, "email_click", event=email_click(story.rng, at, email))


def late_form(story: Story) -> None:
    """53: the click of 5 March stays unresolved for eight days; the form of Friday (195301) names its person."""
    click = story.click("03-05 17:20", GOOGLE, "demo")
    story.enter("03-13 10:29", 1, "sina.bach@langwierig.example", "Sina Bach", form=catalog.EBOOK)
    story.submit("03-13 10:30", catalog.DEMO, "sina.bach@langwierig.example", click)
    story.move("03-13 10:33", story.contact(1), MQL, "AUTOMATION_PLATFORM")


def shared_click_id(story: Story) -> None:
    """54: a colleague posted the ad's address in a chat: 195401 to 195405 carry one and the same gclid."""
    company = story.found("03-12 13:00", 1, "Chatterup GmbH", "chatterup.example")
    click = story.click("03-12 13:05", GOOGLE, "demo")
    for place, name in enumerate(("Anke Rolf", "Bodo Lang", "Cleo Amann", "Dirk Uhl", "Elke Sorge"), start=1):
        email, when = f"{name.lower().replace(' ', '.')}@chatterup.example", f"03-12 13:{10 + 3 * place}"
        extra: Line = {"hs_google_click_id": click.ad_id}
        story.enter(when, place, email, name, company=company, form=catalog.WEBINAR, more=extra)
        story.submit(f"{when}:30", catalog.DEMO, email, click)


def never_resolved(story: Story) -> None:
    """55: clicks that are never claimed: seven over Facebook ads, one with an `eid` that never existed."""
    for place in range(7):
        story.click(f"03-0{place + 2} 13:1{place}", FACEBOOK, "resources/benchmark-report")
    story.click("03-12 17:44", NEWSLETTER, "blog", ("contacts", "199999"))


def capitals(story: Story) -> None:
    """56: one person, 195601, writes its address in three ways; click ids differ only in their capitals."""
    company = story.found("03-12 10:00", 1, "Gleichlaut GmbH", "gleichlaut.example")
    story.enter("03-12 10:12", 1, "Moritz.Hagen@Gleichlaut.example", "Moritz Hagen", company=company, channel=GOOGLE)
    click = story.click("03-12 11:35", LINKEDIN, "pricing")
    story.submit("03-12 11:40", catalog.PRICING, " moritz.hagen@gleichlaut.example ", click)
    for when, ad_id in (("03-13 10:22", "EAIaIQobChMIaBcDeFgHiJ_BwE"), ("03-13 10:52", "EAIaIQobChMIAbCdEfGhIj_BwE")):
        click = story.click(when, GOOGLE, "demo", gclid=ad_id)
        story.submit(f"{when}:40", catalog.DEMO, "MORITZ.HAGEN@GLEICHLAUT.EXAMPLE", click, gclid=ad_id)
    story.move("03-13 10:54", story.contact(1), MQL, "AUTOMATION_PLATFORM")


def malformed(story: Story) -> None:
    """60: 196001 has an e-mail without @, 596001 a typed amount, 596002 a stage nobody knows; clicks without target."""
    company = story.found("03-12 12:15", 1, "Zeilenbruch GmbH", "zeilenbruch.example")
    story.enter("03-12 12:18", 1, "hildegard.zeilenbruch.example", "Hildegard Kunz", company=company, channel=GOOGLE)
    deal = story.open("03-12 12:20", 1, "Zeilenbruch - Platform", amount("12 500,00"), company=company)
    story.win("03-13 10:58", deal)
    unknown = catalog.UNKNOWN_STAGE
    story.open("03-12 12:22", 2, "Zeilenbruch - Extra", amount("900.00"), company=company, stage=unknown)
    story.click("03-12 12:25", GOOGLE, "demo", None, destination_url=None)
    story.click("03-13 12:25", FACEBOOK, "demo", None, destination_url=None)


WRITERS = {
    50: scanners,
    51: late_clicks,
    52: mail_clicks,
    53: late_form,
    54: shared_click_id,
    55: never_resolved,
    56: capitals,
    60: malformed,
}
