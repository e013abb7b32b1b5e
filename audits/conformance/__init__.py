"""A test suite that any check has to stand, shipped so that third parties can run it on their own.

    from audits.conformance import RULES, verify

    @pytest.mark.parametrize("rule", RULES)
    def test_my_check_conforms(rule):
        verify(MY_CHECK, rule, leak=my_leak)

`leak` puts into a synthetic corpus what the check is there to find. A rule that is broken raises `NonConformanceError`
with a sentence that says what was expected. It needs no test framework.
"""

from audits.conformance.rules import RULES, Leak, NonConformanceError, verify

__all__ = ["RULES", "Leak", "NonConformanceError", "verify"]
