"""Names of a touch: source, medium and campaign in one spelling, and its channel by the first rule that matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote_plus

import polars as pl

from crm_attribution.identifiers import is_macro, normalise_domain, visible
from crm_attribution.mapping import ChannelRule, Touches

Spelling = Callable[[str], str | None]

_NOTHING = {"", "-", "none", "null", "undefined", "not set", "not provided", "not available", "nan", "n/a"}
"""What tools write where nothing is known, without brackets. `(not set)`: https://support.google.com/analytics/answer/13504892"""


def named(rows: pl.DataFrame, rules: Touches) -> pl.DataFrame:
    """Spell source, medium and campaign in one way and add `channel` String and `channel_rule` Int64 (its place in
    `touches.channels`, from 1; null where none holds).

    Args:
        rows: kind, source, medium, campaign String, click_id_kinds List(String); `_referrer` String (an address or a
            host, null where none is known), which is dropped.
        rules: the channels, and the names whose spellings are one.
    """
    spelled = rows.with_columns(
        _spelled(rows["source"], rules.sources, plain),
        _spelled(rows["medium"], rules.mediums, plain),
        spelled_campaigns(rows["campaign"], rules),
        _each(rows["_referrer"], normalise_domain),
    )
    place = pl.lit(None, pl.Int64)
    for number, rule in reversed(list(enumerate(rules.channels, 1))):
        place = pl.when(_holds(rule, rules)).then(pl.lit(number, pl.Int64)).otherwise(place)
    names = {number: rule.channel for number, rule in enumerate(rules.channels, 1)}
    return (
        spelled.with_columns(channel_rule=place)
        .with_columns(
            channel=pl.col("channel_rule").replace_strict(names, default=rules.other_channel, return_dtype=pl.String)
        )
        .drop("_referrer")
    )


def spelled_campaigns(values: pl.Series, rules: Touches) -> pl.Series:
    """Campaigns as touches spell them; null where there is none."""
    return _spelled(values, rules.campaigns, _of_campaigns(rules))


def _of_campaigns(rules: Touches) -> Spelling:
    return joined if rules.campaign_spelling == "joined" else plain


def plain(text: str) -> str | None:
    """A source or medium in lower case; None where it is empty: `(not set)`, or a macro that nobody filled in."""
    decoded = unquote_plus(text) if "%" in text or ("+" in text and " " not in text) else text
    bare = " ".join(visible(decoded).lower().split())
    return None if bare.strip("()") in _NOTHING or is_macro(bare) or is_macro(text.strip()) else bare


def joined(text: str) -> str | None:
    """A campaign in lower case, its words joined by `-`: capitals, spaces and punctuation make no other campaign."""
    bare = plain(text)
    if bare is None or "@" in bare:  # an address stays one, so that what is published can withhold it
        return bare
    return re.sub(r"[\W_]+", "-", bare).strip("-") or bare


def _spelled(values: pl.Series, names: Mapping[str, Sequence[str]], spell: Spelling) -> pl.Series:
    known = [(_pattern(variant, spell), name) for name, given in names.items() for variant in (name, *given)]

    def one(text: str) -> str | None:
        bare = spell(text)
        return bare and next((name for pattern, name in known if pattern.fullmatch(bare)), bare)

    return _each(values, one)


def _each(values: pl.Series, function: Spelling) -> pl.Series:
    found = {text: function(text) for text in values.unique().drop_nulls()}
    return values.cast(pl.String).replace_strict(found, default=None, return_dtype=pl.String)


def _pattern(text: str, spell: Spelling = str.lower) -> re.Pattern[str]:
    """A text of the mapping in one spelling, `*` stands for anything."""
    parts = ("" if not part.strip() else re.escape(spell(part) or part) for part in text.split("*"))
    return re.compile(".*".join(parts), re.DOTALL)


def _holds(rule: ChannelRule, rules: Touches) -> pl.Expr:
    """Whether every condition of a rule holds; a value of the mapping may be any spelling of a name."""
    conditions = [
        _any_of(pl.col(column), values, names, spell)
        for column, values, names, spell in (
            ("source", rule.source, rules.sources, plain),
            ("medium", rule.medium, rules.mediums, plain),
            ("campaign", rule.campaign, rules.campaigns, _of_campaigns(rules)),
        )
        if values is not None
    ]
    if rule.kind is not None:
        conditions.append(pl.col("kind").is_in(rule.kind))
    if rule.referrer is not None:
        hosts = "|".join(map(_host, rule.referrer))
        conditions.append(pl.col("_referrer").str.contains(rf"^(?:.*\.)?(?:{hosts})$"))
    if rule.click_id is not None:
        conditions.append(pl.col("click_id_kinds").list.set_intersection(rule.click_id).list.len() > 0)
    return pl.all_horizontal(condition.fill_null(False) for condition in conditions)


def _host(text: str) -> str:
    """A host of the mapping as a pattern: `google.*` is it under any top-level domain (com, de, co.uk)."""
    host = text.strip().lower()
    return r"[^.]+" if host == "*" else re.escape(host).replace(r"\.\*", r"(?:\.[a-z]{2,3}){1,2}")


def _any_of(column: pl.Expr, values: Sequence[str], names: Mapping[str, Sequence[str]], spell: Spelling) -> pl.Expr:
    """Whether a spelled value is one of some; a value of the mapping may be any spelling of it."""
    known = {spell(variant): name for name, given in names.items() for variant in (name, *given)}
    wanted = [_pattern(known.get(spell(value), value), spell).pattern for value in values]
    return column.str.contains(f"^(?:{'|'.join(wanted)})$")
