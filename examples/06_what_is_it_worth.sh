#!/usr/bin/env bash
# What is a synthetic corpus worth? Keep some real records aside *before* generating, then train on synthetic and test on them.
#
#     source .venv/bin/activate && examples/06_what_is_it_worth.sh [DIR]
#
# DIR (default: worth) gets invented letters: source.csv is the corpus, holdout.csv stays aside. A DIR that already holds a
# privdistill.yaml and a holdout.csv is used as it is. The numbers are internal: they were computed without noise. One run is
# evaluated here. Several (evaluate RUN RUN RUN) give an interval over generations, and each of them spends its epsilon.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-worth}"
cd "${1:-worth}"

if [ ! -f privdistill.yaml ]; then
    python "$here/make_letters.py" .
    cat > privdistill.yaml <<'YAML'
source: {path: source.csv, label_column: label, labels: [money, service]}
synthesis: {rows: 200, describe: letters of complaint}
ledger: ledger.sqlite3
YAML
fi

run=$(privdistill generate --epsilon 8)
privdistill evaluate "$run" --test holdout.csv --students words,encoder    # --json makes one document for programs
