#!/usr/bin/env bash
# The whole way, one step at a time, on the embedded film reviews: configure, plan, generate, audit, decide, release, verify.
#
#     source .venv/bin/activate && examples/01_quickstart.sh [DIR]
#
# Everything lands in DIR (default: quickstart). A DIR that already holds a privdistill.yaml is used as it is: put your own
# corpus there. Exit code: 0 released, 10 the policy says no, 3 something it requires could not be measured.
set -euo pipefail
POLICY=${POLICY:-internal}
mkdir -p "${1:-quickstart}"
cd "${1:-quickstart}"

[ -f privdistill.yaml ] || privdistill init              # a commented configuration, never overwritten
privdistill plan --epsilon 8                             # what it will cost and measure; reads no record, spends nothing
run=$(privdistill generate --epsilon 8)                  # the only step that spends privacy; stdout is the run directory

privdistill audit "$run" || [ $? -ne 1 ]                 # the examiner, in its own process; 10 and 3 are answers, not crashes
privdistill gate "$run" --policy "$POLICY" || [ $? -ne 1 ]   # what the policy thinks; writes nothing outside the run
privdistill release "$run" --policy "$POLICY" --out bundle   # a bundle, or nothing
privdistill verify bundle                                # anybody can do this, offline
