"""What happened to outcomes whose figures moved: for each possible cause the row that shows it, as `TABLE KEY`.

Looked at are the versions before and now, the touches that came and went, what the journal says changed since the last
run, and the rules. Nothing is concluded from the figures themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.events.rules.home_values import OWN_AMOUNT, OWN_RATE
from crm_attribution.events.rules.values import needed_properties
from crm_attribution.finance.rules.restatements import OUTCOME
from crm_attribution.finance.versions import MILESTONE, REVENUE
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

KEYS = {
    "raw.property_history": "concat_ws('|', object_type, object_id, property, epoch_ms(timestamp), ordinal)",
    "raw.exchange_rate": "concat_ws('|', date, from_currency, to_currency)",
    "raw.deletion": "concat_ws('|', object_type, object_id, kind)",
    "raw.merge": "concat_ws('|', object_type, absorbed_id)",
    "identity.person_change": "concat_ws('|', person_id, other_person_id, kind)",
    "identity.account_alias": "alias_id",
    "attribution.channel_effect": "concat_ws('|', model, milestone, month, channel)",
    "finance.rule_version": "concat_ws('|', section, epoch_us(recorded_at))",
    "finance.touch_version": "touch_id",
    MILESTONE: "concat_ws('|', milestone, milestone_id, epoch_us(recorded_at))",
    REVENUE: "concat_ws('|', milestone, milestone_id, epoch_us(recorded_at))",
}
"""Table that can hold a cause -> SQL of its rows' key."""

IDENTITY_RULES = ("identity", "accounts", "clicks")
FACT_RULES = ("lifecycle", "deals", "values", "currency", "churn", "milestones", "suppression")
SHARE_RULES = ("touches", "attribution")
SECTIONS = (*IDENTITY_RULES, *FACT_RULES, *SHARE_RULES)

_VERSIONS = """
    SELECT milestone, milestone_id, state = 'live' AND suppressed_by IS NULL AS counted, reason, suppressed_by,
        account_id, deal_id, currency, booked_on, rate, rate_source, rate_on, home_currency,
        [amount_current, mrr_new, arr_new, tcv_current] AS amounts, [amount_current, mrr_current, arr_current,
        tcv_current] AS own_amounts, subject, recorded_at, superseded_at, 'finance.milestone_version' AS table_name
    FROM finance.milestone_version {semi}
    UNION ALL
    SELECT milestone, milestone_id, true, NULL, NULL, account_id, deal_id, currency, booked_on, rate, NULL, NULL,
        home_currency, [amount, mrr, arr, tcv], [amount, mrr, arr, tcv], 'deal', recorded_at, superseded_at,
        'finance.revenue_version'
    FROM finance.revenue_version {semi}
"""
_MOVED_TOUCHES = """
    WITH held AS (
        SELECT milestone, milestone_id, touch_id,
            bool_or(recorded_at < before AND (superseded_at IS NULL OR superseded_at >= before)) AS was,
            bool_or(superseded_at IS NULL) AS is_now
        FROM attribution.credit JOIN asked USING (milestone, milestone_id) WHERE touch_id <> ''
        GROUP BY milestone, milestone_id, touch_id, before
    ),
    label AS (
        SELECT touch_id, min(recorded_at) AS first_known, max(recorded_at) AS last_known, bool_or(superseded_at IS NULL)
            AS stands FROM finance.touch_version SEMI JOIN held USING (touch_id) GROUP BY touch_id
    )
    SELECT held.milestone, held.milestone_id, held.touch_id, was, is_now, first_known, last_known,
        coalesce(stands, false) AS stands, touch.person_id
    FROM held LEFT JOIN label USING (touch_id) LEFT JOIN attribution.touch AS touch USING (touch_id)
    WHERE was OR is_now
"""
_ENTERED = f"""
    SELECT object_id AS deal_id, property, max(timestamp) AS entered,
        'raw.property_history ' || max_by({KEYS["raw.property_history"]}, (timestamp, ordinal)) AS found
    FROM raw.property_history SEMI JOIN asked ON deal_id = object_id
    WHERE object_type = 'deals' AND list_contains($1, property) GROUP BY ALL
"""
_CHANGED_PERSONS = f"""
    SELECT person_id, other_person_id, kind, 'identity.person_change ' || {KEYS["identity.person_change"]} AS found
    FROM identity.person_change SEMI JOIN changed USING (person_id, other_person_id)
"""
_MERGED_ACCOUNTS = f"""
    SELECT account_id, 'identity.account_alias ' || alias_id AS found FROM identity.account_alias
    SEMI JOIN changed ON changed.account_id = alias_id
    WHERE rule <> 'company_merge'
    UNION ALL SELECT account_id, 'raw.merge ' || {KEYS["raw.merge"]} FROM identity.account_alias
    SEMI JOIN changed ON changed.account_id = alias_id
    JOIN raw.merge ON object_type = 'companies' AND alias_id = 'company:' || absorbed_id
    WHERE rule = 'company_merge'
"""
_GONE_DEALS = f"""
    SELECT object_id AS deal_id, 'raw.deletion ' || {KEYS["raw.deletion"]} AS found FROM raw.deletion
    SEMI JOIN asked ON deal_id = object_id WHERE object_type = 'deals' AND kind = 'archived'
"""
_MERGED_DEALS = f"""
    SELECT deal_id, 'raw.merge ' || min({KEYS["raw.merge"]}) AS found FROM raw.merge
    JOIN asked ON deal_id IN (absorbed_id, survivor_id) WHERE object_type = 'deals' GROUP BY deal_id
"""
_RATES = f"""
    SELECT date AS rate_on, from_currency, to_currency, 'raw.exchange_rate ' || {KEYS["raw.exchange_rate"]} AS found
    FROM raw.exchange_rate SEMI JOIN asked ON asked.rate_on = date
"""


@dataclass(frozen=True)
class Run:
    """What a run found: unseen changes, the rules, sections of the mapping that changed (-> key of their row)."""

    changes: Changes
    rules: Rules
    sections: dict[str, str]


def evidence(session: Session, asked: pl.DataFrame, run: Run) -> pl.DataFrame:
    """OUTCOME, recounted, and a column per cause.

    Args:
        session: an open session.
        asked: OUTCOME, before (the first time a figure of the outcome moved in this run).
        run: what the run found.
    """
    found = _facts(session, asked)
    for part in (
        _touched(session, asked),
        _persons(session, asked, run.changes),
        _others(session, found),
        _learned(session, asked),
    ):
        found = found.join(part, on=OUTCOME, how="left")
    found = _of_deals(session, found, run)
    found = _of_accounts(session, found, run.changes)
    return _of_rules(found, run)


def _versions(session: Session, keys: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    semi = f"SEMI JOIN asked USING ({', '.join(columns)})"
    return session.query(_VERSIONS.format(semi=semi), asked=keys.select(columns).drop_nulls().unique())


def _key(prefix: str = "") -> pl.Expr:
    """`TABLE KEY` of a version."""
    names = ("milestone", "milestone_id")
    moment = pl.col(f"recorded_at{prefix}").dt.epoch("us").cast(pl.String)
    return pl.concat_str(
        pl.col(f"table_name{prefix}"), pl.lit(" "), *(pl.concat_str(name, pl.lit("|")) for name in names), moment
    )


def _facts(session: Session, asked: pl.DataFrame) -> pl.DataFrame:
    """OUTCOME, before, the columns of the version that held before with `_was`, of that which holds now; new,
    suppressed, and recounted."""
    versions = _versions(session, asked, OUTCOME).join(asked, on=OUTCOME)
    until = pl.col("superseded_at")
    was = versions.filter((pl.col("recorded_at") < pl.col("before")) & (until.is_null() | (until >= pl.col("before"))))
    now = versions.filter(until.is_null())
    last = versions.sort("recorded_at").unique(OUTCOME, keep="last", maintain_order=True)
    named = _versions(session, asked, ["milestone_id"]).join(
        asked.group_by("milestone_id").agg(pl.col("before").min()), on="milestone_id"
    )
    elsewhere = named.filter(pl.col("superseded_at").is_null()).select("milestone_id", _other_name="milestone")
    elsewhere = elsewhere.join(asked.select(OUTCOME), on="milestone_id").filter(
        pl.col("_other_name") != pl.col("milestone")
    )
    renamed = named.filter(pl.col("recorded_at") < pl.col("before")).select("milestone_id", _known=True).unique()
    found = (
        asked.join(was.drop("before"), on=OUTCOME, how="left")
        .rename({name: f"{name}_was" for name in was.columns if name not in (*OUTCOME, "before")})
        .join(now.drop("before"), on=OUTCOME, how="left")
        .join(last.select(*OUTCOME, _last=_key()), on=OUTCOME, how="left")
        .join(renamed, on="milestone_id", how="left")
        .join(elsewhere.unique(OUTCOME), on=OUTCOME, how="left")
    )
    counted, counted_was = (pl.col(name).fill_null(value=False) for name in ("counted", "counted_was"))
    return found.with_columns(
        recounted=counted != counted_was,
        new=pl.when(pl.col("_known").is_null()).then(pl.coalesce(_key(), "_last")),
        suppressed=pl.when(pl.col("suppressed_by").is_null() != pl.col("suppressed_by_was").is_null()).then(_key()),
        account=pl.when(pl.col("account_id").ne_missing(pl.col("account_id_was")) & pl.col("_known")).then(
            pl.coalesce(_key(), "_last")
        ),
        unexplained=pl.col("_last"),
    )


def _touched(session: Session, asked: pl.DataFrame) -> pl.DataFrame:
    """OUTCOME, erased, late_touch, touch_withdrawn, touch_label: of the touches that came, went or were renamed."""
    touches = session.query(_MOVED_TOUCHES, asked=asked).join(asked, on=OUTCOME)
    came, went = pl.col("is_now") & ~pl.col("was"), pl.col("was") & ~pl.col("is_now")
    erased = pl.col("touch_id").str.starts_with("erased:")
    row = pl.lit("finance.touch_version ") + pl.col("touch_id")
    since = pl.col("before")
    return touches.group_by(OUTCOME).agg(
        erased=row.filter(went & erased).min(),
        late_touch=row.filter(came & (pl.col("first_known") >= since)).min(),
        touch_withdrawn=row.filter(went & ~erased & ~pl.col("stands")).min(),
        touch_label=row.filter(
            pl.col("was") & pl.col("is_now") & (pl.col("last_known") >= since) & (pl.col("first_known") < since)
        ).min(),
    )


def _persons(session: Session, asked: pl.DataFrame, changes: Changes) -> pl.DataFrame:
    """OUTCOME, merge, split: of the persons whose touches came or went, or whose fact it is."""
    changed = session.query(_CHANGED_PERSONS, changed=changes.frame(topics.PERSON_CHANGE))
    if changed.is_empty():
        nothing = {name: pl.lit(None, pl.String) for name in ("merge", "split")}
        return asked.select(OUTCOME).with_columns(**nothing)
    moved = session.query(_MOVED_TOUCHES, asked=asked).filter(pl.col("was") != pl.col("is_now"))
    of_facts = session.read_keys("events.milestone", asked.select(OUTCOME)).select(*OUTCOME, "person_id")
    people = pl.concat([moved.select(*OUTCOME, "person_id"), of_facts]).drop_nulls().unique()
    involved = pl.concat([changed.select("kind", "found", person_id=name) for name in ("person_id", "other_person_id")])
    found = people.join(involved, on="person_id").group_by(OUTCOME)
    kind = pl.col("kind")
    return found.agg(**{name: pl.col("found").filter(kind == name).min() for name in ("merge", "split")})


def _others(session: Session, found: pl.DataFrame) -> pl.DataFrame:
    """OUTCOME, other_outcome: a version of another fact of the account that began or ended since."""
    mine = found.select(*OUTCOME, "before", account_id=pl.coalesce("account_id", "account_id_was"))
    versions = _versions(session, mine, ["account_id"])
    joined = mine.join(versions, on="account_id", suffix="_other")
    moved = (pl.col("recorded_at") >= pl.col("before")) | (pl.col("superseded_at") >= pl.col("before"))
    other = pl.col("milestone_id_other") != pl.col("milestone_id")
    row = pl.concat_str(
        "table_name",
        pl.lit(" "),
        pl.concat_str("milestone_other", "milestone_id_other", separator="|"),
        pl.lit("|"),
        pl.col("recorded_at").dt.epoch("us").cast(pl.String),
    )
    wins = pl.col("milestone_other").str.starts_with("customer_")
    return (
        joined.filter(moved & other)
        .with_columns(_row=row, _win=~wins)
        .sort("_win", "_row")
        .group_by(OUTCOME, maintain_order=True)
        .agg(other_outcome=pl.col("_row").first())
    )


def _learned(session: Session, asked: pl.DataFrame) -> pl.DataFrame:
    """OUTCOME, learned: an effect of the outcome's month and kind, by which a model shares it."""
    return session.query(
        f"SELECT milestone, milestone_id, 'attribution.channel_effect ' || min({KEYS['attribution.channel_effect']})"
        " AS learned FROM (SELECT milestone, milestone_id, date_trunc('month', occurred_at AT TIME ZONE 'UTC')::DATE AS"
        " month FROM events.milestone SEMI JOIN asked USING (milestone, milestone_id))"
        " JOIN attribution.channel_effect USING (milestone, month) GROUP BY ALL",
        asked=asked,
    )


def _of_deals(session: Session, found: pl.DataFrame, run: Run) -> pl.DataFrame:
    """Add archived, stage, currency, close_date, amount, rate and merges of deals, where the versions differ so."""
    deal = pl.coalesce("deal_id", "deal_id_was")
    found = found.with_columns(_deal=deal)
    deals = records_frame("deal_id", found["_deal"].drop_nulls().unique())
    values = needed_properties(run.rules.values)
    churn = [name for name in (run.rules.churn.property, run.rules.churn.date_property) if name]
    wanted = ["dealstage", *churn, "closedate", "deal_currency_code", OWN_RATE, OWN_AMOUNT, *values]
    entered = session.query(_ENTERED, [wanted], asked=deals)
    for name, properties in (
        ("_staged", ["dealstage", *churn]),
        ("_closed", ["closedate"]),
        ("_currency", ["deal_currency_code"]),
        ("_rated", [OWN_RATE, OWN_AMOUNT]),
        ("_valued", values),
    ):
        mine = entered.filter(pl.col("property").is_in(properties)).sort("entered", "found")
        newest = mine.group_by("deal_id").agg(pl.col("found").last().alias(name))
        found = found.join(newest, left_on="_deal", right_on="deal_id", how="left")
    for name, sql in (("_archived", _GONE_DEALS), ("_merged", _MERGED_DEALS)):
        rows = session.query(sql, asked=deals).rename({"found": name})
        found = found.join(rows, left_on="_deal", right_on="deal_id", how="left")
    rates = session.query(_RATES, asked=found.select("rate_on").drop_nulls().unique())
    pair = ["rate_on", "from_currency", "to_currency"]
    found = found.with_columns(from_currency="currency", to_currency="home_currency").join(
        rates.rename({"found": "_table_rate"}), on=pair, how="left"
    )
    gone = pl.col("recounted") & pl.any_horizontal(
        pl.col(name).eq_missing(pl.lit("archived")) for name in ("reason", "reason_was")
    )
    raw_changed = pl.col("_deal").is_in(run.changes.ids(topics.DEALS)) | pl.col("_deal").is_null()
    facts_kept = raw_changed if set(run.sections) & set(FACT_RULES) else pl.lit(value=True)
    both = pl.col("recorded_at").is_not_null() & pl.col("recorded_at_was").is_not_null()

    # a fact that came or went whole, by what was entered at its deal
    alone = pl.col("_deal").is_in(run.changes.ids(topics.DEALS)) & pl.col("_merged").is_null()
    alone &= pl.col("_other_name").is_null()

    def shown(differs: pl.Expr, row: str) -> pl.Expr:
        return pl.when(differs & facts_kept).then(pl.coalesce(row, _key(), "_last"))

    def moved(name: str) -> pl.Expr:
        return both & pl.col(name).ne_missing(pl.col(f"{name}_was"))

    return found.with_columns(
        archived=shown(gone, "_archived"),
        stage=shown(
            pl.col("recounted") & ~gone & pl.when(both).then(pl.col("suppressed").is_null()).otherwise(alone), "_staged"
        ),
        currency=shown(moved("currency"), "_currency"),
        close_date=shown(moved("booked_on"), "_closed"),
        amount=shown(moved("own_amounts"), "_valued"),
        rate=shown(moved("rate") | moved("home_currency"), "_table_rate").fill_null(
            pl.when((moved("rate") | moved("home_currency")) & facts_kept).then(pl.coalesce("_rated", _key()))
        ),
        merge=pl.coalesce("merge", pl.when(~both).then("_merged")),
    )


def _of_accounts(session: Session, found: pl.DataFrame, changes: Changes) -> pl.DataFrame:
    """Complete merge and account by the accounts that became one."""
    changed = ids_frame("account_id", changes.of(topics.ACCOUNT))
    joined = session.query(_MERGED_ACCOUNTS, changed=changed)
    merged = pl.col("found").str.starts_with("raw.merge")
    by_account = joined.group_by("account_id").agg(
        _account_merge=pl.col("found").filter(merged).min(), _account_joined=pl.col("found").filter(~merged).min()
    )
    found = found.join(by_account, on="account_id", how="left")
    return found.with_columns(
        merge=pl.coalesce("merge", "_account_merge"), account=pl.coalesce("_account_joined", "account")
    )


def _of_rules(found: pl.DataFrame, run: Run) -> pl.DataFrame:
    """Add identity_rule and mapping: the row of a section that changed in this run."""
    rules = {
        name: next((run.sections[one] for one in of if one in run.sections), None)
        for name, of in (("identity_rule", IDENTITY_RULES), ("mapping", (*FACT_RULES, *SHARE_RULES)))
    }
    return found.with_columns(**{name: pl.lit(row, pl.String) for name, row in rules.items()})
