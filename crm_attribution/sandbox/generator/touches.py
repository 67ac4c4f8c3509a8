"""Clicks, click ids, form submissions, e-mail clicks and ad spend."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from crm_attribution.sandbox.generator.catalog import BROWSERS, NEWSLETTER, OWN_DOMAIN, PAID, Channel, Form
from crm_attribution.sandbox.generator.lines import DAY, HOUR, Line, given, iso
from crm_attribution.sandbox.generator.rhythm import Region

_URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HEX = "0123456789abcdef"


def token(rng: random.Random, length: int, alphabet: str = _URL_SAFE) -> str:
    return "".join(rng.choices(alphabet, k=length))


def ad_click_id(rng: random.Random, channel: Channel) -> str | None:
    """What the platform would have put on the landing URL. Case matters: never lower-case them."""
    if channel.click_key == "gclid":
        return f"Cj0KCQiA{token(rng, 34)}_wcB"
    if channel.click_key == "fbclid":
        return f"IwAR{token(rng, 40)}"
    if channel.click_key == "li_fat_id":
        return "-".join(token(rng, size, _HEX) for size in (8, 4, 4, 4, 12))
    return None


@dataclass(frozen=True)
class Click:
    """One follow of a short link."""

    at: int
    click_id: str
    channel: Channel
    campaign: str | None
    ad_id: str | None
    path: str
    country: str
    browser: tuple[str, str]
    contact_id: str | None = None
    more: Line = field(default_factory=dict)

    @property
    def ids(self) -> Line:
        """The platform's click id under its own parameter name, if there is one."""
        return {self.channel.click_key: self.ad_id} if self.channel.click_key and self.ad_id else {}

    def line(self) -> Line:
        """The click as the link service reports it; `more` overrides, a None there takes a field away."""
        known = given(
            {
                "click_id": self.click_id,
                "link_slug": f"{self.channel.key[:2]}-{self.campaign or 'site'}",
                "link_tags": [self.channel.key, self.path.split("/")[0]],
                "destination_url": f"https://www.{OWN_DOMAIN}/{self.path}",
                "contact_id": self.contact_id,
                "utm_source": self.channel.source,
                "utm_medium": self.channel.medium,
                "utm_campaign": self.campaign,
                **self.ids,
                "country": self.country,
                "device": self.browser[0],
                "user_agent": self.browser[1],
                "referrer": self.channel.referrer,
                "method": "GET",
            }
        )
        return given({**known, **self.more})


def make_click(
    rng: random.Random, at: int, channel: Channel, path: str, region: Region, contact_id: str | None = None
) -> Click:
    """A person's click, with the browser and campaign drawn."""
    return Click(
        at=at,
        click_id=f"clk_{token(rng, 16, _BASE32)}",
        channel=channel,
        campaign=rng.choice(channel.campaigns) if channel.campaigns else None,
        ad_id=ad_click_id(rng, channel),
        path=path,
        country=rng.choice(region.countries),
        browser=rng.choice(BROWSERS),
        contact_id=contact_id,
    )


def submission(form: Form, email: str, click: Click | None, *, hidden: bool = True) -> Line:
    """A form as it was sent: the click ids in hidden fields, or only in the address of the page."""
    page = f"https://www.{OWN_DOMAIN}/{form.path}"
    if click is None:
        return {"form_id": form.guid, "email": email, "page_url": page}
    query = [f"utm_source={click.channel.source}", f"utm_medium={click.channel.medium}"]
    query += [f"utm_campaign={click.campaign}"] if click.campaign else []
    query += [f"{key}={value}" for key, value in click.ids.items()] if not hidden else []
    fields = {**click.ids, "link_click_id": click.click_id} if hidden else {}
    return {"form_id": form.guid, "email": email, "page_url": f"{page}?{'&'.join(query)}", **fields}


def email_click(rng: random.Random, at: int, recipient: str, *, filtered: bool = False) -> Line:
    """A click in a marketing mail, as HubSpot's e-mail events report it."""
    browser = rng.choice(BROWSERS)
    sent = at - (2 * 1000 if filtered else int(rng.random() * 20 * HOUR) + 60_000)
    return {
        "id": "-".join(token(rng, size, _HEX) for size in (8, 4, 4, 4, 12)),
        "recipient": recipient,
        "email_campaign_id": str(318400000 + at // DAY % 7),
        "url": f"https://www.{OWN_DOMAIN}/blog?utm_source=newsletter&utm_medium=email&utm_campaign={NEWSLETTER.campaigns[0]}",
        "filtered": filtered,
        "sent_at": iso(sent),
        "device_type": browser[0].upper(),
        "user_agent": browser[1],
    }


def spend(rng: random.Random, start: int, end: int, scale: float) -> list[tuple[int, Line]]:
    """Each morning the costs of the day before, per paid campaign."""
    lines: list[tuple[int, Line]] = []
    day = start // DAY * DAY
    while day + DAY + 5 * HOUR <= end:
        weekend = (day // DAY + 3) % 7 >= 5
        for channel in PAID:
            for campaign in channel.campaigns:
                clicks = max(1, round(scale * (0.4 if weekend else 1.0) * (14 + 22 * rng.random())))
                cost = clicks * channel.cost_per_click * (0.8 + 0.4 * rng.random())
                entry: Line = {
                    "date": iso(day)[:10],
                    "platform": channel.key,
                    "campaign": campaign,
                    "currency": "USD" if campaign.endswith("-us") else "EUR",
                    "amount": f"{cost:.2f}",
                    "clicks": clicks,
                    "impressions": clicks * rng.randrange(38, 160),
                }
                lines.append((day + DAY + 5 * HOUR, entry))
        day += DAY
    return lines
