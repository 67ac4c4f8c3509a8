"""What does not change in the invented company: account, owners, pipelines, campaigns, forms.

The company sells attribution software under crm-attribution-demo.example, to Europe in euros and to America in
dollars. All domains are reserved ones (`.example`), all persons invented.
"""

from __future__ import annotations

from dataclasses import dataclass

from crm_attribution.sandbox.generator.lines import Line

OWN_DOMAIN = "crm-attribution-demo.example"
FREE_MAIL = "freemail.example"
DOLLAR_RATE = "0.92"  # one dollar in euros, as HubSpot froze it on the deals
UNKNOWN_STAGE = "9999999"
CUSTOM_STAGE = "128840771"  # the portal's own lifecycle stage "Product qualified": custom stages have numeric ids
DECISION_MAKER = "Decision maker"

ACCOUNT: Line = {"portalId": 48200117, "timeZone": "Europe/Berlin", "companyCurrency": "EUR"}

_OWNER_NAMES = (
    ("9001", "Femke", "Aldering"),
    ("9002", "Jonas", "Brückmann"),
    ("9003", "Priya", "Naderi"),
    ("9004", "Marcus", "Tollefson"),
    ("9005", "Leonie", "Haubach"),
)
OWNERS = tuple(identifier for identifier, _, _ in _OWNER_NAMES)


def owners() -> list[Line]:
    """The sales team, in HubSpot's shape: `id` is the owner, `userId` is not."""
    return [
        {
            "id": identifier,
            "email": f"{first.lower()}@{OWN_DOMAIN}",
            "firstName": first,
            "lastName": last,
            "userId": 52000000 + int(identifier),
            "archived": False,
        }
        for identifier, first, last in _OWNER_NAMES
    ]


def _stage(identifier: str, label: str, order: int, closed: bool, probability: str, since: str) -> Line:
    return {
        "id": identifier,
        "label": label,
        "displayOrder": order,
        "metadata": {"isClosed": "true" if closed else "false", "probability": probability},
        "archived": False,
        "createdAt": since,
        "updatedAt": since,
    }


def _pipeline(identifier: str, label: str, order: int, since: str, stages: tuple[tuple[str, str, str], ...]) -> Line:
    built = [
        _stage(stage, name, place, probability in ("0.0", "1.0"), probability, since)
        for place, (stage, name, probability) in enumerate(stages)
    ]
    return {
        "id": identifier,
        "label": label,
        "displayOrder": order,
        "archived": False,
        "createdAt": since,
        "updatedAt": since,
        "stages": built,
    }


SALES_STAGES = (
    ("appointmentscheduled", "Appointment scheduled", "0.2"),
    ("qualifiedtobuy", "Qualified to buy", "0.4"),
    ("presentationscheduled", "Presentation scheduled", "0.6"),
    ("decisionmakerboughtin", "Decision maker bought-in", "0.8"),
    ("contractsent", "Contract sent", "0.9"),
    ("closedwon", "Closed won", "1.0"),
    ("closedlost", "Closed lost", "0.0"),
)
RENEWALS = "7740021"
RENEWAL_DUE, RENEWAL_TALKS, RENEWED, CHURNED = "1180001", "1180002", "1180003", "1180004"
RENEWAL_STAGES = (
    (RENEWAL_DUE, "Renewal due", "0.6"),
    (RENEWAL_TALKS, "In negotiation", "0.8"),
    (RENEWED, "Renewed", "1.0"),
    (CHURNED, "Churned", "0.0"),
)


def pipelines() -> list[Line]:
    return [
        _pipeline("default", "Sales Pipeline", 0, "1970-01-01T00:00:00Z", SALES_STAGES),
        _pipeline(RENEWALS, "Renewals", 1, "2025-11-04T09:12:44.318Z", RENEWAL_STAGES),
    ]


@dataclass(frozen=True)
class Channel:
    """A way people come, and how far they usually get.

    Attributes:
        click_key: the click id the platform puts on the landing URL.
        click_property: where the CRM keeps it on the contact.
        rates: chance to become a qualified lead, then a sales-qualified one, then to be won once there is a deal.
    """

    key: str
    weight: float
    source: str
    medium: str
    click_key: str | None
    click_property: str | None
    hubspot_source: str
    campaigns: tuple[str, ...]
    referrer: str | None
    rates: tuple[float, float, float]
    cost_per_click: float = 0.0


GOOGLE = Channel(
    "google",
    0.30,
    "google",
    "cpc",
    "gclid",
    "hs_google_click_id",
    "PAID_SEARCH",
    ("brand-dach", "attribution-software-dach", "attribution-software-us"),
    "https://www.google.com/",
    (0.66, 0.62, 0.50),
    4.2,
)
LINKEDIN = Channel(
    "linkedin",
    0.22,
    "linkedin",
    "paid_social",
    "li_fat_id",
    "li_fat_id",
    "PAID_SOCIAL",
    ("abm-revops-q1", "cfo-benchmark-report"),
    "https://www.linkedin.com/",
    (0.58, 0.60, 0.48),
    7.9,
)
FACEBOOK = Channel(
    "facebook",
    0.14,
    "facebook",
    "paid_social",
    "fbclid",
    "hs_facebook_click_id",
    "PAID_SOCIAL",
    ("retargeting-demo", "lookalike-ebook"),
    "https://l.facebook.com/",
    (0.36, 0.42, 0.34),
    1.3,
)
NEWSLETTER = Channel(
    "newsletter",
    0.10,
    "newsletter",
    "email",
    None,
    None,
    "EMAIL_MARKETING",
    ("newsletter-2026-03", "product-update"),
    None,
    (0.48, 0.50, 0.44),
)
PARTNER = Channel(
    "partner",
    0.08,
    "partner-directory",
    "referral",
    None,
    None,
    "REFERRALS",
    ("partner-directory",),
    "https://directory.partner.example/",
    (0.70, 0.66, 0.56),
)
ORGANIC = Channel(
    "organic",
    0.16,
    "google",
    "organic",
    None,
    None,
    "ORGANIC_SEARCH",
    (),
    "https://www.google.com/",
    (0.50, 0.54, 0.44),
)
CHANNELS = (GOOGLE, LINKEDIN, FACEBOOK, NEWSLETTER, PARTNER, ORGANIC)
PAID = (GOOGLE, LINKEDIN, FACEBOOK)


@dataclass(frozen=True)
class Form:
    """A form on the website; `stage` is the lifecycle stage its contacts start with."""

    key: str
    guid: str
    path: str
    stage: str


DEMO = Form("demo", "5d1f0c9e-64a2-4c38-9d0b-2f7a8b1e6c01", "demo", "lead")
PRICING = Form("pricing", "b90c2e74-1f55-4b6a-8e3d-7c41d0a95f12", "pricing", "marketingqualifiedlead")
WEBINAR = Form("webinar", "0e8a4d3b-92c7-47f1-b6a5-d13f5e70c823", "webinar/attribution-for-cfos", "lead")
EBOOK = Form("ebook", "73b6f1a8-0d4e-4e92-a7c9-58e2b46d9f34", "resources/benchmark-report", "lead")
SUBSCRIBE = Form("subscribe", "c2475e90-8ab3-4d17-9f62-e0b7d1c83a45", "newsletter", "subscriber")
FORMS = (DEMO, PRICING, WEBINAR, EBOOK, SUBSCRIBE)

BROWSERS = (
    ("desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/133.0.0.0 Safari/537.36"),
    ("desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.3 Safari/605.1.15"),
    ("desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:135.0) Gecko/20100101 Firefox/135.0"),
    (
        "mobile",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
    ),
    ("mobile", "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 Chrome/133.0.0.0 Mobile Safari/537.36"),
)
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
)
