"""Corpora that are not the usual ones, of our own sentences: by their labels, and in three languages."""

from itertools import product
from typing import NamedTuple

from tests.conftest import toy_rows

__all__ = ["KINDS", "Corpus", "corpus"]


class Corpus(NamedTuple):
    """Texts, their labels or None, and how many rows to ask for."""

    texts: list[str]
    labels: list[str] | None
    rows: int

    @property
    def names(self) -> tuple[str, ...]:
        """Labels to declare."""
        return tuple(sorted(set(self.labels or ())))


_SPOKEN = {
    "German": (
        {
            "Lob": ("war überraschend gemütlich", "hat uns große Freude gemacht", "bleibt für mich unübertroffen"),
            "Tadel": ("war leider völlig überfüllt", "fiel uns höchst unangenehm auf", "gehört längst geschlossen"),
        },
        ("Das Café", "Die Bäckerei", "Der Wochenmarkt", "Die Bücherei", "Das Freibad", "Der Imbiss"),
        ("am Fluss", "hinter der Brücke", "in der Fußgängerzone", "neben dem Dom", "vor dem Schloss"),
        "{thing} {place} {judgement}.",
    ),
    "Japanese": (
        {
            "褒める": ("とても居心地がよかったです", "家族みんなで楽しめました", "また必ず行きたいと思います"),
            "けなす": ("思ったより混んでいました", "店員の態度が残念でした", "もう二度と行きません"),
        },
        ("喫茶店", "パン屋", "朝市", "図書館", "温泉", "居酒屋"),
        ("川沿いの", "駅前の", "丘の上の", "商店街の", "神社の隣の"),
        "{place}{thing}は、{judgement}。",
    ),
    "Arabic": (
        {
            "مدح": ("كان هادئا ونظيفا جدا", "أسعدنا كثيرا في ذلك اليوم", "يستحق الزيارة مرة أخرى"),
            "ذم": ("كان مزدحما إلى حد مزعج", "خيب أملنا منذ الدقيقة الأولى", "لا يستحق هذا الثمن أبدا"),
        },
        ("المقهى", "المخبز", "السوق", "المتحف", "المطعم", "المسبح"),
        ("قرب النهر", "خلف المحطة", "في وسط المدينة", "بجانب المسجد", "أمام القلعة"),
        "{thing} {place} {judgement}.",
    ),
}
KINDS = ("unlabelled", "one class", "fifty classes", "more classes than rows", "imbalanced", *_SPOKEN)


def corpus(kind: str, records: int = 160) -> Corpus:
    """About so many records of a kind, all different."""
    if kind in _SPOKEN:
        judgements, things, places, pattern = _SPOKEN[kind]
        every = [
            (pattern.format(thing=thing, place=place, judgement=one), label)
            for label, said in judgements.items()
            for thing, place, one in product(things, places, said)
        ]
        return Corpus([text for text, _ in every], [label for _, label in every], 10)
    texts = [text for text, _ in toy_rows(records)]
    match kind:
        case "unlabelled":
            return Corpus(texts, None, 9)
        case "one class":
            return Corpus(texts, ["only"] * records, 8)
        case "imbalanced":
            return Corpus(texts, ["rare" if i < 2 else "common" for i in range(records)], 12)
        case "fifty classes" | "more classes than rows":
            labels = [f"topic {i % 50}" for i in range(records)]
            return Corpus(texts, labels, 50 if kind == "fifty classes" else 20)
        case _:
            raise ValueError(kind)
