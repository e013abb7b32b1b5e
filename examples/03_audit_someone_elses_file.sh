#!/usr/bin/env bash
# Audit a synthetic file that somebody else made, with any tool: does it give away the records it was made from?
#
#     source .venv/bin/activate && examples/03_audit_someone_elses_file.sh [DIR]
#
# The examiner needs the synthetic file, the records that its generator read, and, to tell memory from coincidence, records
# of the same kind that it never read. It knows nothing of privdistill's generator.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-letters}

python "$here/make_letters.py" "$out"

audit() {
    local code=0
    python -m audits --synthetic "$out/$1.csv" --source "$out/source.csv" --holdout "$out/holdout.csv" \
        --text-column text --label-column label --out "$out/audit-$1" || code=$?
    echo "== $1.csv: exit code $code (0 pass, 10 fail, 3 could not decide)"
    [ "$code" -eq "$2" ]
}

audit clean 0      # drawn independently of the source
audit leaky 10     # every fifth row is a letter of the source
