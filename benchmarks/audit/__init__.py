"""The examiner, measured: power by leak, false alarms, cost, and what two common rules say of the same rows."""
