"""Near-duplicates among synthetic texts: sets of five-word shingles that overlap by a given Jaccard similarity.

It looks at synthetic text only. The examiner has its own, separate notion, on purpose.
"""

from collections import defaultdict

from privdistill.features.words import words_and_marks, words_of

__all__ = ["NearDuplicates", "near_duplicate_share", "shingles"]

_WORDS = 5


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Sets of five successive words (letters, in scripts without spaces), case folded; a shorter text is one."""
    words = words_of(text) or words_and_marks(text)
    if len(words) <= _WORDS:
        return frozenset([tuple(words)])
    return frozenset(tuple(words[i : i + _WORDS]) for i in range(len(words) - _WORDS + 1))


class NearDuplicates:
    """Texts taken so far; says whether another one comes too close to any of them."""

    def __init__(self, threshold: float = 0.6) -> None:
        """Start empty.

        Args:
            threshold: Jaccard similarity from which two texts count as near-duplicates.
        """
        self._threshold = threshold
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._sizes: list[int] = []

    def add(self, text: str) -> bool:
        """Take the text unless it comes too close to one taken before; returns whether it was taken."""
        own = shingles(text)
        shared: dict[int, int] = defaultdict(int)
        for shingle in own:
            for holder in self._holders.get(shingle, ()):
                shared[holder] += 1
        for holder, common in shared.items():
            if common / (len(own) + self._sizes[holder] - common) >= self._threshold:
                return False
        for shingle in own:
            self._holders[shingle].append(len(self._sizes))
        self._sizes.append(len(own))
        return True


def near_duplicate_share(texts: list[str] | tuple[str, ...], threshold: float = 0.8) -> float:
    """Share of texts that come too close to an earlier one."""
    if not texts:
        return 0.0
    index = NearDuplicates(threshold)
    return sum(not index.add(text) for text in texts) / len(texts)
