"""Real orders: an order file becomes a catalogue, clean invoices and refused rows.

Sending them anywhere belongs to `replay`. A row that cannot be sold is data here; only a file that
cannot be read as orders is an error.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from holdfast.contracts.card_numbers import holds_card_number, mask_card_numbers
from holdfast.contracts.messages import LINES_MAX, MINOR_MAX, QUANTITY_MAX

CURRENCY = "GBP"
COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID")
PRICE_MINOR_MAX = MINOR_MAX // (LINES_MAX * QUANTITY_MAX)
"""So that no total can leave the range of exact integers."""

OTHER_ROW_REFUSED = "other_row_refused"
CARD_NUMBER = "card_number"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_QUANTITY = re.compile(r"[+-]?[0-9]{1,18}")
_PRICE = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_GZIP_MAGIC = b"\x1f\x8b"


class NotOrders(Exception):
    """The file cannot be read as orders; the text is one line that says why."""


class Reject(NamedTuple):
    """A row that was refused; rows count as a spreadsheet does, the header being row 1."""

    row: int
    invoice: str
    code: str
    reason: str


class Invoice(NamedTuple):
    """An invoice that can be sold whole: (code, pieces) with each code once, in order of appearance."""

    number: str
    customer: str
    lines: tuple[tuple[str, int], ...]
    rows: int


class Orders(NamedTuple):
    """What an order file holds. Every row is in one clean invoice or in `rejects`, never in both.

    `catalogue` is code to price in minor units of CURRENCY, for the codes of clean invoices;
    `rows_otherwise_priced` counts their rows that had another price than the catalogue's.
    """

    rows: int
    catalogue: dict[str, int]
    invoices: tuple[Invoice, ...]
    rejects: tuple[Reject, ...]
    rows_otherwise_priced: int


class _OrderRow(NamedTuple):
    number: int
    invoice: str
    code: str
    customer: str
    quantity: int
    price_minor: int
    reason: str | None

    def rejected(self, reason: str) -> Reject:
        return Reject(
            self.number, mask_card_numbers(self.invoice), mask_card_numbers(self.code), self.reason or reason
        )


def read_orders(path: Path) -> Orders:
    """Read a CSV file, plain or gzip. Raises NotOrders."""
    try:
        with path.open("rb") as file:
            return parse_orders(_plain(file))
    except NotOrders as error:
        raise NotOrders(f"{path}: {error}") from None
    except OSError as error:  # includes gzip.BadGzipFile
        raise NotOrders(f"{path}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise NotOrders(f"{path}: damaged gzip file: {error}") from None


def parse_orders(file: BinaryIO) -> Orders:
    """Judge every row of CSV bytes. Raises NotOrders.

    Bytes that are not UTF-8 spoil only the rows in which a column that is read holds them.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)  # strict: an unclosed quote must not swallow rows unseen
    try:
        header = next(reader, None)
        if header is None:
            raise NotOrders("the file is empty")
        return _judge(_rows(reader, [name.strip() for name in header]))
    except csv.Error as error:
        raise NotOrders(f"line {reader.line_num}: {error}") from None


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write the refused rows as CSV, in file order."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Reject._fields)
        writer.writerows(rejects)


def _plain(file: BinaryIO) -> BinaryIO:
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=file)) if magic == _GZIP_MAGIC else file


def _rows(reader: Iterable[list[str]], header: list[str]) -> Iterator[_OrderRow]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise NotOrders(f"no column {', '.join(missing)} in the first line (a UTF-8 CSV header is expected)")
    places = [header.index(name) for name in COLUMNS]
    pick = itemgetter(*places)
    for number, fields in enumerate((fields for fields in reader if fields), start=2):
        if len(fields) == len(header):
            yield _read(number, tuple(field.strip() for field in pick(fields)))
        else:
            invoice, code = (fields[i].strip() if i < len(fields) else "" for i in places[:2])
            yield _OrderRow(number, invoice, code, "", 0, 0, "wrong_field_count")


def _read(number: int, fields: tuple[str, ...]) -> _OrderRow:
    invoice, code, quantity, price, customer = fields
    pieces, quantity_reason = _read_quantity(quantity)
    price_minor, price_reason = _read_price(price)
    reason = quantity_reason or price_reason
    if not _NAME.fullmatch(invoice):
        reason = "bad_invoice"
    elif invoice.upper().startswith("C"):
        reason = "cancellation"
    elif not (0 < len(code) <= 64 and code.isprintable()):
        reason = "bad_code"
    elif customer and not _NAME.fullmatch(customer):
        reason = "bad_customer"
    if any(map(holds_card_number, (invoice, code, customer))):
        reason = CARD_NUMBER
    return _OrderRow(number, invoice, code, customer, pieces, price_minor, reason)


def _read_quantity(text: str) -> tuple[int, str | None]:
    if not _QUANTITY.fullmatch(text):
        return 0, "bad_quantity"
    pieces = int(text)
    if pieces <= 0:
        return pieces, "negative_quantity" if pieces else "zero_quantity"
    return pieces, "quantity_too_large" if pieces > QUANTITY_MAX else None


def _read_price(text: str) -> tuple[int, str | None]:
    if not _PRICE.fullmatch(text):
        return 0, "bad_price"
    minor = Decimal(text) * 100
    if minor <= 0:
        return 0, "negative_price" if minor else "zero_price"
    if minor > PRICE_MINOR_MAX:
        return 0, "price_too_large"
    if minor != int(minor):  # refused, not rounded: nobody can be charged a part of a penny
        return 0, "price_in_parts_of_a_penny"
    return int(minor), None


def _judge(rows: Iterator[_OrderRow]) -> Orders:
    count, rejects, by_invoice = 0, list[Reject](), defaultdict[str, list[_OrderRow]](list)
    for row in rows:
        count += 1
        if row.reason == "bad_invoice" or not row.invoice:
            rejects.append(row.rejected("bad_invoice"))
        else:
            by_invoice[row.invoice].append(row)
    invoices, sold = list[Invoice](), list[_OrderRow]()
    for members in by_invoice.values():
        refused = _refusals(members)
        rejects += refused
        if not refused:
            invoices.append(_invoice(members))
            sold += members
    catalogue = _catalogue(sold)
    otherwise = sum(row.price_minor != catalogue[row.code] for row in sold)
    return Orders(count, catalogue, tuple(invoices), tuple(sorted(rejects)), otherwise)


def _refusals(rows: list[_OrderRow]) -> list[Reject]:
    """All rows of an invoice that cannot be sold whole, none of one that can."""
    if any(row.reason for row in rows):
        return [row.rejected(OTHER_ROW_REFUSED) for row in rows]
    pieces = _pieces(rows)
    if len(pieces) > LINES_MAX:
        return [row.rejected("too_many_lines") for row in rows]
    if max(pieces.values()) > QUANTITY_MAX:
        return [
            row.rejected("quantity_too_large" if pieces[row.code] > QUANTITY_MAX else OTHER_ROW_REFUSED)
            for row in rows
        ]
    return []


def _invoice(rows: list[_OrderRow]) -> Invoice:
    return Invoice(rows[0].invoice, rows[0].customer, tuple(_pieces(rows).items()), len(rows))


def _pieces(rows: list[_OrderRow]) -> Counter[str]:
    pieces = Counter[str]()
    for row in rows:
        pieces[row.code] += row.quantity
    return pieces


def _catalogue(rows: list[_OrderRow]) -> dict[str, int]:
    """The most frequent price of each code; of equally frequent ones the lowest."""
    seen = defaultdict[str, Counter[int]](Counter)
    for row in rows:
        seen[row.code][row.price_minor] += 1
    return {
        code: min(prices, key=lambda price: (-prices[price], price)) for code, prices in sorted(seen.items())
    }
