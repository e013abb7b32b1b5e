"""PD105, texts that can be compared. Threat model: none; text in another language hides every copy from every check.

A synthetic corpus in another language, script or encoding shares no words with the source, so comparisons find
nothing and would pass in silence, while a translation may give everything away. Most words of the synthetic corpus
must be known to the source. It does not see what the words say.
"""

import numpy as np

from audits.evidence import Evidence
from audits.registry import Outcome, check
from audits.statistics.intervals import rate

__all__ = ["comparable_text"]

KNOWN = 1 / 3


@check(
    id="PD105",
    name="comparable-text",
    title="Do synthetic corpus and source speak the same language?",
    threat_model="none",
    tier="core",
)
def comparable_text(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Measure the share of synthetic words that the source has too."""
    del rng
    known = np.zeros(
        int(max(evidence.source_tokens.ids.max(initial=0), evidence.synthetic_tokens.ids.max(initial=0))) + 1, bool
    )
    known[evidence.source_tokens.ids] = True
    hits, total = int(known[evidence.synthetic_tokens.ids].sum()), len(evidence.synthetic_tokens.ids)
    share = rate(hits, total)
    numbers = {"known_words": share}
    if share.value >= KNOWN:
        return Outcome(
            f"{share.value:.0%} of the synthetic words are words of the source.", status="pass", estimates=numbers
        )
    sentence = f"Only {share.value:.0%} of the synthetic words are words of the source: copies would not be recognised."
    return Outcome(sentence, status="inconclusive", estimates=numbers)
