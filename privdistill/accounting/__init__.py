"""What is lost: accountants, budget, ledger."""
