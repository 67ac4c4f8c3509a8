"""What the consent properties of a contact say."""

from __future__ import annotations

from collections.abc import Sequence

from crm_attribution.destinations.base import Consent
from crm_attribution.mapping import Rules


def consent_of(texts: Sequence[str | None], rules: Rules) -> Consent:
    """Consent by the values of its properties, of which a multiple-choice one may have several: a denial wins."""
    given = {part.strip().lower() for text in texts for part in (text or "").split(";")}
    if given & {value.lower() for value in rules.consent.denied}:
        return "denied"
    return "granted" if given & {value.lower() for value in rules.consent.granted} else "absent"
