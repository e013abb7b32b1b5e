"""What two common rules say of the same rows: the share of rows closer to train, and rows above a fixed cosine.

Both see the texts as the examiner does. Neither has an interval, a control for phantoms or a correction.
"""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from audits.features.alignment import nearest, spell
from audits.features.tokens import Vocabulary

DCR_SHARE = 0.55
COSINE, COSINE_SHARE = 0.9, 0.01


def dcr_share(train: list[str], holdout: list[str], rows: list[str]) -> float:
    """Share of rows whose closest record is a train record, ties one half; the rule alarms above 0.55."""
    vocabulary = Vocabulary()
    ours, sides = vocabulary.encode(rows), [vocabulary.encode(train), vocabulary.encode(holdout)]
    spelt = spell(vocabulary.spell(ours))
    near = [nearest(spelt, spell(vocabulary.spell(side))).similarity for side in sides]
    return float(np.mean(near[0] > near[1]) + 0.5 * np.mean(near[0] == near[1]))


def close_rows(train: list[str], rows: list[str]) -> float:
    """Share of rows with a TF-IDF cosine of 0.9 or more to a train record; the rule alarms above one in a hundred."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = words.fit_transform(train)
    likeness = (words.transform(rows) @ known.T).tocsr()
    return float(np.mean(likeness.max(axis=1).toarray() >= COSINE))
