"""Hand-written scenarios of the sample.

The number of a scenario stands in the ids of its objects: scenario 7 has the contacts 190701, 190702, …, the companies
390701, … and the deals 590701, … What happens, and to which of them, is the first line of each function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crm_attribution.sandbox.generator.lines import Line
from crm_attribution.sandbox.generator.scenarios import deals, identity, lifecycle, touch
from crm_attribution.sandbox.generator.scenarios.story import Story

WRITERS: dict[int, Callable[[Story], None]] = {
    **identity.WRITERS,
    **lifecycle.WRITERS,
    **deals.WRITERS,
    **touch.WRITERS,
}


def scenarios(seed: int, end: int) -> Iterator[list[tuple[int, Line]]]:
    """The lines of one scenario after the other."""
    for number, write in WRITERS.items():
        story = Story(seed, number)
        write(story)
        yield story.log.until(end)
