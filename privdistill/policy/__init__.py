"""Policy + claim + audit findings + ledger total -> Decision.

    load_policy(name_or_path) -> LoadedPolicy(policy, sha256, text)
    decide(policy, claim, audit, ledger, digests, *, decided_at, tool_version, waivers=()) -> Decision

Everything but `load` and `cases.load_cases` is pure. It does not know runs, bundles, models or the command line.
"""

from privdistill.policy.decide import decide, evaluate, renewed, verdict_of
from privdistill.policy.decision import Decision, RuleResult
from privdistill.policy.facts import Digests, Facts, LedgerFacts
from privdistill.policy.load import LoadedPolicy, load_policy, load_waivers, parse_policy, shipped_policies
from privdistill.policy.model import Policy, policy_json_schema
from privdistill.policy.waivers import Waiver, WaiverUse

__all__ = [
    "Decision",
    "Digests",
    "Facts",
    "LedgerFacts",
    "LoadedPolicy",
    "Policy",
    "RuleResult",
    "Waiver",
    "WaiverUse",
    "decide",
    "evaluate",
    "load_policy",
    "load_waivers",
    "parse_policy",
    "policy_json_schema",
    "renewed",
    "shipped_policies",
    "verdict_of",
]
