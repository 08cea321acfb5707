"""The books: the invariants as queries over all databases and the payment provider's own ledger.

Reads and never writes; what a violation means for a shopper or an operator is for people to decide.
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
