"""What happened away from the web: fairs, dinners, calls, from files."""

from __future__ import annotations

from dataclasses import dataclass

from crm_attribution.clock import iso
from crm_attribution.identifiers import normalise_email, sha256
from crm_attribution.sources.base import Given, Source
from crm_attribution.sources.restated import Restated
from crm_attribution.sources.rows import Row, slug

_ID = 24


@dataclass(frozen=True)
class OfflineTouches(Source):
    """Touches that name a contact, by its id or its e-mail."""

    def row(self, given: Given, problems: list[str]) -> Row:
        """A row without an id of its own gets one made of who, what and when: the same list dropped twice is one.

        Raises:
            ValueError: `column:reason`; also where neither a contact nor an e-mail can be read.
        """
        row = super().row(given, problems)
        if row["contact_id"] is None and normalise_email(row["email"]) is None:
            raise ValueError("; ".join(problems) or f"email:{'missing' if row['email'] is None else 'not_an_address'}")
        who = row["contact_id"] if row["contact_id"] is not None else str(row["email"]).lower()
        made = sha256("\n".join([iso(row["touched_at"]), row["act"], str(who)]))[:_ID]
        return {**row, "touch_id": row["touch_id"] or made}


SOURCE = OfflineTouches(
    name="touches",
    table="raw.offline_touch",
    folder="touches",
    owner_column="contact_id",
    happened=("touched_at",),
    restated=Restated(part=("touch_id",)),
    derived=("email_normalised",),
    filled=("touch_id", "told_at"),
    readers={"act": slug},
    in_files={
        "touch_id": "your own id of it, by which it can be told again; where empty, made of time, act and contact"
    },
)
