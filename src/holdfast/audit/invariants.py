"""The table of invariants: each is a query in `sql/`, and each row of it is a violation: key, what is wrong.

Their numbers are those of the reference in docs.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.audit.report import Violation
from holdfast.audit.scratch import Scratch


class Invariant(NamedTuple):
    """One invariant. `always`: it needs no quiet system, because it reads one database only."""

    name: str
    query: str
    always: bool = False


INVARIANTS = (
    Invariant("I01", "i01_money_in_all"),
    Invariant("I02", "i02_money_per_saga"),
    Invariant("I03", "i03_charges_agree"),
    Invariant("I03", "i03_refunds_agree"),
    Invariant("I04", "i04_charged_twice", always=True),
    Invariant("I05", "i05_amount_of_snapshot"),
    Invariant("I06", "i06_stock_conserved"),
    Invariant("I07", "i07_oversold", always=True),
    Invariant("I08", "i08_reservations_whole"),
    Invariant("I09", "i09_orders_counted"),
    Invariant("I10", "i10_order_is_snapshot"),
    Invariant("I12", "i12_failed_leaves_nothing"),
    Invariant("I13", "i13_completed_has_everything"),
    Invariant("I14", "i14_cart_cleared_if_completed"),
    Invariant("I14", "i14_cart_cleared_exactly"),
    Invariant("I16", "i16_event_applied_once", always=True),
    Invariant("I16", "i16_stock_moved_once", always=True),
    Invariant("I17", "i17_history_gap_free", always=True),
    Invariant("I17", "i17_history_legal", always=True),
    Invariant("I17", "i17_history_ends_in_state", always=True),
    Invariant("I19", "i19_key_used_once"),
    Invariant("I29", "i29_gateway_says_so"),
)


def find_violations(scratch: Scratch, invariants: Sequence[Invariant]) -> list[Violation]:
    """Run the query of each of these and return the violations, in the order of `invariants`."""
    return [
        Violation(invariant.name, str(key), text, invariant.query)
        for invariant in invariants
        for key, text in scratch.rows(invariant.query)
    ]
