"""mostlyai-engine's language model with differential privacy, run by the Python of its own environment.

    python3 -m venv peer && peer/bin/pip install mostlyai-engine==2.7.3 torch==2.13.0
    peer/bin/pip uninstall -y torchvision torchaudio      # built for another torch: the import fails with them
    peer/bin/python benchmarks/peers/mostlyai_engine.py TRAIN.csv OUT.csv --epsilon 8 --rows 500 --minutes 6
    python -m benchmarks.peers OUT.csv --corpus messages

It imports nothing of privdistill, and must not be named like the package. Settings are the tool's own defaults, apart
from delta, the largest epsilon and the time. What its epsilon does not cover, by its source at 2.7.3: the tokenizer
learnt from the records, lengths, and early stopping on private validation records. OUT.json beside the rows says what
was claimed and how long it took.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=6.0)
    given = parser.parse_args()
    import pandas as pd
    from mostlyai.engine import LanguageModel
    from mostlyai.engine.domain import DifferentialPrivacyConfig

    records = pd.read_csv(given.train, dtype=str, keep_default_na=False)[["text", "label"]]
    workspace = given.out.with_suffix(".workspace")
    model = LanguageModel(
        tgt_encoding_types={"label": "LANGUAGE_CATEGORICAL", "text": "LANGUAGE_TEXT"},
        model="MOSTLY_AI/LSTMFromScratch-3m",
        max_training_time=given.minutes,
        differential_privacy=DifferentialPrivacyConfig(max_epsilon=given.epsilon, delta=given.delta),
        device="cpu",
        workspace_dir=workspace,
        verbose=0,
    )
    start = time.monotonic()
    model.fit(X=records)
    trained = time.monotonic() - start
    rows = model.sample(n_samples=given.rows)
    messages = pd.read_csv(workspace / "ModelStore" / "model-data" / "progress-messages.csv")
    spent = messages["dp_eps"].dropna().tolist()
    rows[["text", "label"]].to_csv(given.out, index=False)
    facts = {
        "tool": f"mostlyai-engine {version('mostlyai-engine')}",
        "model": "MOSTLY_AI/LSTMFromScratch-3m",
        "epsilon_claimed": max((e for e in spent if e <= given.epsilon), default=None),
        "epsilon_reached": spent[-1] if spent else None,
        "delta": given.delta,
        "epochs": float(messages["epoch"].iloc[-1]),
        "records": len(records),
        "training_seconds": round(trained, 1),
        "seconds": round(time.monotonic() - start, 1),
        "empty_rows": int((rows["text"].fillna("").str.strip() == "").sum()),
    }
    given.out.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
