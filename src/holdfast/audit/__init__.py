"""Checks the books: the invariants, as queries over all databases and the payment provider's own ledger.

It only reads them; people decide what a violation means for a shopper or an operator.
"""

from holdfast.audit.auditor import run, run_on
from holdfast.audit.report import AuditReport, Money, ParkedMessages, Violation
from holdfast.audit.sources import KafkaSource, PostgresSource, Sources, SourceUnavailable

__all__ = [
    "AuditReport",
    "KafkaSource",
    "Money",
    "ParkedMessages",
    "PostgresSource",
    "SourceUnavailable",
    "Sources",
    "Violation",
    "run",
    "run_on",
]
