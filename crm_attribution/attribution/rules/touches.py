"""Touches: what known persons did, and mailboxes that belong to an account only.

A submission that names a click is that click.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import polars as pl

from crm_attribution.attribution.rules.acts import Acts, Known, acts, reported_twice
from crm_attribution.attribution.rules.channels import named
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters
from crm_attribution.identity.rules.memberships import account_at
from crm_attribution.mapping import Touches

_UTM = ["utm_source", "utm_medium", "utm_campaign"]


def of_persons(
    clicks: pl.DataFrame,
    email_clicks: pl.DataFrame,
    submissions: pl.DataFrame,
    offline: pl.DataFrame,
    activities: pl.DataFrame,
    tellings: pl.DataFrame,
    bots: Collection[str],
    rules: Touches,
) -> Acts:
    """What some persons did, each act once; `placed` makes attribution.touch rows of the touches.

    Args:
        clicks: raw.link_click columns with `person_id`, `resolved_contact_id`, `form_id`, `conversion_id` of
            resolved clicks.
        email_clicks: raw.email_click columns with `person_id` and `contact_id` of resolved clicks.
        submissions: raw.form_submission columns with `person_id` and `contact_id`.
        offline: raw.offline_touch columns with `person_id` and `resolved_contact_id`.
        activities: raw.activity columns with `person_id` and `contact_id`, one row for each person.
        tellings: touches from HubSpot's contact properties, see `tellings.py`.
        bots: click ids (`kind:id`) that only bot clicks carry.
        rules: when two tellings are one act.
    """
    same_visit = timedelta(minutes=rules.same_visit_minutes)
    held, not_held = _of_activities(activities, rules)
    files, twice = reported_twice(_of_files(offline), held, same_visit)
    own = pl.concat([_acts(clicks, email_clicks, submissions), files, held])
    found = acts(
        Known(own, _click_ids(clicks, submissions), tellings, bots), timedelta(hours=rules.same_click_hours), same_visit
    )
    return Acts(found.touches, pl.concat([found.folded, not_held, twice], how="diagonal"))


def placed(touches: pl.DataFrame, membership: pl.DataFrame, rules: Touches) -> pl.DataFrame:
    """attribution.touch rows: touches with the account of their moment, and their channel.

    Args:
        touches: of `of_persons`.
        membership: identity.membership of these persons.
        rules: channel rules.
    """
    return _with_channel(account_at(touches, "touched_at", membership), rules)


def _click_ids(clicks: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """As in `Known`. gbraid and wbraid name no click: several share one."""
    theirs = clicks.select("form_id", "conversion_id", "person_id", _click="click_id").drop_nulls()
    theirs = theirs.sort("_click").unique(["form_id", "conversion_id", "person_id"], keep="first")
    named = submissions.join(theirs, on=["form_id", "conversion_id", "person_id"], how="left")
    own = pl.concat_str(pl.lit("form"), "form_id", "conversion_id", separator=":")
    link, form = pl.lit("click:") + pl.col("click_id"), pl.coalesce(pl.lit("click:") + pl.col("_click"), own)
    parts = [
        rows.filter(pl.col(name).is_not_null()).select(
            "person_id",
            touch_id=touch,
            touched_at=moment,
            click_id=pl.lit(f"{name}:") + pl.col(name),
            is_link=pl.lit(touch is link),
        )
        for rows, touch, moment in ((clicks, link, "clicked_at"), (named, form, "submitted_at"))
        for name in CLICK_ID_PARAMETERS
        if name not in ("gbraid", "wbraid")
    ]
    return pl.concat(parts)


def of_mailboxes(
    clicks: pl.DataFrame,
    email_clicks: pl.DataFrame,
    submissions: pl.DataFrame,
    offline: pl.DataFrame,
    spans: pl.DataFrame,
    by_domain: pl.DataFrame,
    rules: Touches,
) -> pl.DataFrame:
    """Return attribution.touch rows without a person: acts of mailboxes that name an account at most.

    The account is the one that all owners of the mailbox belonged to at that moment; where they have several, or
    none, the account of its business domain. Without an account there is no touch.

    Args:
        clicks: as for `of_persons`, of clicks that a submission from such a mailbox names; `person_id` is the mailbox.
        email_clicks: as for `of_persons`; `person_id` is the mailbox.
        submissions: as for `of_persons`; `person_id` is the mailbox.
        offline: as for `of_persons`; `person_id` is the mailbox.
        spans: mailbox String, account_id String, valid_from UTC, valid_to UTC (null: still) of all owners.
        by_domain: mailbox String, account_id String of its business domain.
        rules: channel rules.
    """
    own = pl.concat([_acts(clicks, email_clicks, submissions), _of_files(offline)])
    acts = own.rename({"person_id": "mailbox"})
    at = pl.col("touched_at")
    theirs = (
        acts.select("touch_id", "mailbox", "touched_at")
        .join(spans, on="mailbox")
        .filter((pl.col("valid_from") <= at) & (pl.col("valid_to").is_null() | (at < pl.col("valid_to"))))
        .group_by("touch_id")
        .agg(_theirs=pl.col("account_id").first(), _accounts=pl.col("account_id").n_unique())
        .filter(pl.col("_accounts") == 1)
    )
    rows = (
        acts.join(theirs, on="touch_id", how="left", maintain_order="left")
        .join(by_domain.rename({"account_id": "_domain"}), on="mailbox", how="left", maintain_order="left")
        .with_columns(account_id=pl.coalesce("_theirs", "_domain"), person_id=pl.lit(None, pl.String))
        .drop_nulls("account_id")
    )
    return _with_channel(rows.drop("mailbox", "_theirs", "_accounts", "_domain"), rules)


def _acts(clicks: pl.DataFrame, email_clicks: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    same = clicks.select("form_id", "conversion_id").drop_nulls()
    alone = submissions.join(same, on=["form_id", "conversion_id"], how="anti")
    return pl.concat([_of_clicks(clicks), _of_emails(email_clicks), _of_forms(alone)])


def _with_channel(rows: pl.DataFrame, rules: Touches) -> pl.DataFrame:
    return named(rows, rules).sort("touch_id")


def _kinds(names: list[str]) -> pl.Expr:
    return pl.concat_list(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in names).list.drop_nulls()


def _of_clicks(clicks: pl.DataFrame) -> pl.DataFrame:
    return clicks.select(
        touch_id=pl.lit("click:") + pl.col("click_id"),
        touched_at="clicked_at",
        kind=pl.lit("link_click"),
        person_id="person_id",
        contact_id="resolved_contact_id",
        source="utm_source",
        medium="utm_medium",
        campaign="utm_campaign",
        click_id_kinds=_kinds(list(CLICK_ID_PARAMETERS)),
        origin=pl.lit("raw.link_click:") + pl.col("click_id"),
        _referrer="referrer",
    )


def _of_emails(clicks: pl.DataFrame) -> pl.DataFrame:
    urls = clicks["url"].unique().drop_nulls()
    parsed = [{"url": url, **{name: url_parameters(url).get(name) for name in _UTM}} for url in urls]
    utm = pl.DataFrame(parsed, schema=dict.fromkeys(["url", *_UTM], pl.String))
    key = pl.col("created_at").dt.epoch("ms").cast(pl.String) + ":" + pl.col("id")
    return clicks.join(utm, on="url", how="left").select(
        touch_id=pl.lit("email:") + key,
        touched_at="created_at",
        kind=pl.lit("email_click"),
        person_id="person_id",
        contact_id="contact_id",
        source=pl.coalesce("utm_source", pl.lit("hubspot")),
        medium=pl.coalesce("utm_medium", pl.lit("email")),
        campaign=pl.coalesce("utm_campaign", "email_campaign_id"),
        click_id_kinds=pl.lit([], pl.List(pl.String)),
        origin=pl.lit("raw.email_click:") + key,
        _referrer=pl.lit(None, pl.String),
    )


def _of_forms(submissions: pl.DataFrame) -> pl.DataFrame:
    key = pl.col("form_id") + ":" + pl.col("conversion_id")
    return submissions.select(
        touch_id=pl.lit("form:") + key,
        touched_at="submitted_at",
        kind=pl.lit("form_submission"),
        person_id="person_id",
        contact_id="contact_id",
        source="utm_source",
        medium="utm_medium",
        campaign="utm_campaign",
        click_id_kinds=_kinds(list(CLICK_ID_PARAMETERS)),
        origin=pl.lit("raw.form_submission:") + key,
        _referrer=pl.lit(None, pl.String),
    )


def _of_files(rows_of_files: pl.DataFrame) -> pl.DataFrame:
    return rows_of_files.select(
        touch_id=pl.lit("offline:") + pl.col("touch_id"),
        touched_at="touched_at",
        kind=pl.lit("offline_touch"),
        person_id="person_id",
        contact_id="resolved_contact_id",
        source="source",
        medium=pl.coalesce("medium", "act"),
        campaign="campaign",
        click_id_kinds=pl.lit([], pl.List(pl.String)),
        origin=pl.lit("raw.offline_touch:") + pl.col("touch_id"),
        _referrer=pl.lit(None, pl.String),
    )


def _of_activities(activities: pl.DataFrame, rules: Touches) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Touches of what took place, and what did not (`rule`)."""
    rows = activities.select(
        "outcome",
        "gone",
        touch_id=pl.format("{}:{}:{}", "kind", "id", "contact_id"),
        touched_at="occurred_at",
        kind="kind",
        person_id="person_id",
        contact_id="contact_id",
        source=pl.lit("hubspot"),
        medium="kind",
        campaign="name",
        click_id_kinds=pl.lit([], pl.List(pl.String)),
        origin=pl.format("raw.activity:{}:{}", "kind", "id"),
        _referrer=pl.lit(None, pl.String),
    )
    outcomes = pl.format("{}:{}", "kind", pl.col("outcome").fill_null(""))
    missed = outcomes.is_in([f"{kind}:{name}" for kind, names in rules.not_held.items() for name in names])
    why = pl.when(pl.col("gone").is_not_null()).then(pl.lit("gone")).when(missed).then(pl.lit("not_held"))
    judged = rows.with_columns(into=pl.lit(None, pl.String), rule=why).drop("outcome", "gone")
    held = judged.filter(pl.col("rule").is_null()).drop("into", "rule")
    return held, judged.drop_nulls("rule").drop("click_id_kinds", "_referrer")
