"""Edges: which identifiers the records, links and submissions show together, each with its source row and dates.

An edge belongs to an owner, its left end: the contact whose record says so, the contact id a link carried, or the
e-mail typed into a form. The edges of an owner are a pure function of its rows.
"""

from __future__ import annotations

import polars as pl

from crm_attribution import identifiers
from crm_attribution.mapping import Identity

KEY = ["node_type", "node", "identifier_type", "identifier"]
COLUMNS = [*KEY, "contact_id", "rule", "source", "first_seen", "last_seen"]

RULES = (
    "include",
    "merge",
    "self",
    "link_contact",
    "primary_email",
    "additional_email",
    "email_history",
    "link_click",
    "contact_click_id",
    "click_id_history",
    "form_submission",
)
"""Strongest first: a person's word, CRM merge, contact id, contact id on a link, e-mails, click ids."""

WEAK = ("link_click", "contact_click_id", "click_id_history", "form_submission")
"""These name a person, but never join two who both hold live contacts: mails are forwarded, links are shared."""

CLICK_TYPES = ("gclid", "fbclid", "li_fat_id", "msclkid", "ttclid", "link_click")
"""Identifier types of clicks; `link_click` is our own click id. gbraid and wbraid are aggregate identifiers that name
no click: https://support.google.com/analytics/answer/16973975"""

_FORM_IDS = {"gclid": "gclid", "fbclid": "fbclid", "li_fat_id": "li_fat_id", "msclkid": "msclkid",
             "link_click_id": "link_click"}  # fmt: skip

NO_CLICK_ID = "not_a_click_id:"
"""How an identifier begins that stands where a click id should be and is none: a placeholder, a cut one."""

TIMESTAMP = pl.Datetime("us", "UTC")


def strength(rule: pl.Expr) -> pl.Expr:
    """0 for the strongest rule."""
    return rule.replace_strict({name: place for place, name in enumerate(RULES)}, return_dtype=pl.Int64)


def contact_edges(contacts: pl.DataFrame, history: pl.DataFrame, merges: pl.DataFrame, rules: Identity) -> pl.DataFrame:
    """Every edge the given contacts' records imply.

    Args:
        contacts: raw.contact rows.
        history: raw.property_history rows of `email` and of the click id properties, of these contacts.
        merges: raw.merge rows of contacts whose survivor is among these contacts.
        rules: names the contact properties that hold click ids.
    """
    own = pl.format("raw.contact:{}", "id")
    seen = {"first_seen": pl.col("created_at"), "last_seen": pl.max_horizontal("created_at", "modified_at")}

    def of(kind: str, identifier: pl.Expr, rule: str) -> pl.DataFrame:
        return contacts.select(
            contact_id="id", identifier_type=pl.lit(kind), identifier=identifier, rule=pl.lit(rule), source=own, **seen
        )

    additional = of("email", pl.col("additional_emails"), "additional_email").explode("identifier")
    clicks = [
        contacts.select(
            contact_id="id",
            identifier_type=pl.lit(kind),
            identifier=pl.col("properties").str.json_path_match(f"$.{name}"),
            rule=pl.lit("contact_click_id"),
            source=own,
            **seen,
        )
        for name, kind in rules.click_id_properties.items()
    ]
    parts = [
        of("contact", _text("id"), "self"),
        _merged(contacts, merges),
        of("email", pl.col("email"), "primary_email"),
        additional,
        *clicks,
        _former(history, rules),
    ]
    rows = pl.concat([part.select(*KEY[2:], *COLUMNS[4:]) for part in parts])
    return _tidy(rows.with_columns(node_type=pl.lit("contact"), node=_text("contact_id")))


def _text(record: str) -> pl.Expr:
    """A record id as an identifier of the graph, where all kinds are text."""
    return pl.col(record).cast(pl.String)


def _merged(contacts: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    created = contacts.select(pl.col("id").alias("survivor_id"), "created_at")
    when = pl.coalesce("merged_at", "created_at")
    return merges.join(created, on="survivor_id").select(
        contact_id="survivor_id",
        identifier_type=pl.lit("contact"),
        identifier=_text("absorbed_id"),
        rule=pl.lit("merge"),
        source=pl.format("raw.merge:contacts:{}", "absorbed_id"),
        first_seen=when,
        last_seen=when,
    )


def _former(history: pl.DataFrame, rules: Identity) -> pl.DataFrame:
    kinds = {"email": "email", **rules.click_id_properties}
    email = pl.col("property") == "email"
    return history.filter(pl.col("property").is_in(list(kinds))).select(
        contact_id="object_id",
        identifier_type=pl.col("property").replace_strict(kinds, return_dtype=pl.String),
        identifier="value",
        rule=pl.when(email).then(pl.lit("email_history")).otherwise(pl.lit("click_id_history")),
        source=pl.format("raw.property_history:contacts:{}:{}", "object_id", "property"),
        first_seen="timestamp",
        last_seen="timestamp",
    )


def link_edges(clicks: pl.DataFrame, named_by_forms: pl.Series) -> pl.DataFrame:
    """Edges of contact ids carried by links: to the contact of that id, and to the click ids seen on the link.

    Args:
        clicks: raw.link_click rows with a contact_id, people's only.
        named_by_forms: those of our own click ids that a submission names; the others would join nothing.
    """
    clicks = clicks.with_columns(
        link_click=pl.when(pl.col("click_id").is_in(named_by_forms.implode())).then("click_id")
    )
    source = pl.lit("raw.link_click:") + pl.col("click_id")
    base = {"contact_id": pl.col("contact_id"), "source": source, "first_seen": pl.col("clicked_at"),
            "last_seen": pl.col("clicked_at")}  # fmt: skip
    named = clicks.select(
        identifier_type=pl.lit("contact"), identifier=_text("contact_id"), rule=pl.lit("link_contact"), **base
    )
    seen = [
        clicks.select(identifier_type=pl.lit(kind), identifier=kind, rule=pl.lit("link_click"), **base)
        for kind in CLICK_TYPES
    ]
    rows = pl.concat([part.select(*KEY[2:], *COLUMNS[4:]) for part in (named, *seen)])
    return _tidy(rows.with_columns(node_type=pl.lit("link_contact"), node=_text("contact_id")))


def form_edges(submissions: pl.DataFrame) -> pl.DataFrame:
    """Edges of e-mails typed into forms to the click ids that came with them.

    Args:
        submissions: raw.form_submission rows.
    """
    source = pl.format("raw.form_submission:{}:{}", "form_id", "conversion_id")
    rows = pl.concat(
        [
            submissions.select(
                node="email_normalised",
                identifier_type=pl.lit(kind),
                identifier=name,
                rule=pl.lit("form_submission"),
                source=source,
                first_seen="submitted_at",
                last_seen="submitted_at",
            )
            for name, kind in _FORM_IDS.items()
        ]
    )
    return _tidy(rows.with_columns(node_type=pl.lit("email"), contact_id=pl.lit(None, pl.Int64)))


def manual_edges(rules: Identity) -> pl.DataFrame:
    """Edges of the mapping file's `identity.include`."""
    rows = [
        {**_end(one, "node_type", "node"), **_end(other, "identifier_type", "identifier"), "contact_id": None,
         "rule": "include", "source": "mapping:identity.include", "first_seen": None, "last_seen": None}
        for one, other in rules.include
    ]  # fmt: skip
    types = {"first_seen": TIMESTAMP, "last_seen": TIMESTAMP, "contact_id": pl.Int64()}
    schema = pl.Schema({name: types.get(name, pl.String()) for name in COLUMNS})
    return pl.DataFrame(rows, schema=schema).unique(KEY).sort(KEY)


def _end(text: str, kind: str, value: str) -> dict[str, str]:
    name, _, rest = text.partition(":")
    return {kind: name, value: rest}


def combined(edges: pl.DataFrame) -> pl.DataFrame:
    """One edge per pair of identifiers: the strongest rule's and oldest source, first and last seen of all."""
    return (
        edges.with_columns(_strength=strength(pl.col("rule")))
        .sort(*KEY, "_strength", "first_seen", "source")
        .group_by(KEY, maintain_order=True)
        .agg(
            pl.col("contact_id").first(),
            pl.col("rule").first(),
            pl.col("source").first(),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
        )
        .select(COLUMNS)
    )


def _tidy(rows: pl.DataFrame) -> pl.DataFrame:
    emails = rows.filter(pl.col("identifier_type") == "email")
    others = rows.filter(pl.col("identifier_type") != "email")
    platform = pl.col("identifier_type").is_in([kind for kind in CLICK_TYPES if kind != "link_click"])
    clicks, others = others.filter(platform), others.filter(~platform)
    clicks = clicks.with_columns(identifier=_click_ids(clicks["identifier"]))
    emails = emails.with_columns(identifier=identifiers.normalised_emails(emails["identifier"]))
    texts = others.with_columns(identifier=pl.col("identifier").str.strip_chars())
    kept = pl.concat([emails, clicks, texts]).drop_nulls(["node", "identifier"]).filter(pl.col("identifier") != "")
    return combined(kept)


def _click_ids(texts: pl.Series) -> pl.Series:
    """Each click id as its platform gave it; what is none is kept with a prefix that joins nobody."""
    names = {
        text: identifiers.normalise_click_id(text) or f"{NO_CLICK_ID}{text.strip()}"
        for text in texts.unique().drop_nulls()
        if text.strip()
    }
    return texts.replace_strict(names, default=None, return_dtype=pl.String)
