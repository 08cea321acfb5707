"""What becomes of each row of an order file: a line of a clean invoice, or a refusal with its reason."""

import csv
import gzip
import io
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.messages import LINES_MAX, QUANTITY_MAX
from holdfast.local import orders as module
from holdfast.local.orders import Invoice, NotOrders, Orders, Reject, parse_orders, read_orders, write_rejects

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
SAMPLE = Path(module.__file__).parent / "sample" / "online_retail.csv.gz"


def row(
    invoice: str = "1", code: str = "A", quantity: object = 1, price: object = "1.00", customer: str = "7"
) -> str:
    return f"{invoice},{code},A THING,{quantity},12/1/2010 8:34,{price},{customer},France"


def parse(*rows: str) -> Orders:
    return parse_orders(io.BytesIO("\n".join((HEADER, *rows, "")).encode()))


def reasons(*rows: str) -> list[str]:
    return [reject.reason for reject in parse(*rows).rejects]


def test_a_clean_invoice_keeps_its_codes_in_order_and_sums_a_repeated_one() -> None:
    orders = parse(row(code="B", quantity=2), row(code="A", quantity=5), row(code="B", quantity=1))
    assert orders.invoices == (Invoice("1", "7", (("B", 3), ("A", 5)), 3),)
    assert orders.rejects == ()
    assert orders.rows == 3


def test_invoices_stand_in_the_order_of_their_first_rows_though_their_rows_are_scattered() -> None:
    orders = parse(row("2"), row("1"), row("2", "B"))
    assert [(invoice.number, invoice.rows) for invoice in orders.invoices] == [("2", 2), ("1", 1)]


def test_one_bad_row_refuses_the_whole_invoice_and_every_row_says_why() -> None:
    orders = parse(row(code="A"), row(code="B", price="0"), row("2", "C", 4), row(code="D"))
    assert orders.rejects == (
        Reject(2, "1", "A", "other_row_refused"),
        Reject(3, "1", "B", "zero_price"),
        Reject(5, "1", "D", "other_row_refused"),
    )
    assert [invoice.number for invoice in orders.invoices] == ["2"]
    assert orders.catalogue == {"C": 100}  # what cannot be sold sets no price


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(invoice="C1", quantity=-1), "cancellation"),
        (row(invoice="C1"), "cancellation"),
        (row(invoice="c1"), "cancellation"),
        (row(invoice=""), "bad_invoice"),
        (row(invoice="a b"), "bad_invoice"),
        (row(invoice="../x"), "bad_invoice"),
        (row(code=""), "bad_code"),
        (row(code="A" * 65), "bad_code"),
        (row(code="A\x00"), "bad_code"),
        (row(customer="a/b"), "bad_customer"),
        (row(customer="4111111111111111"), "card_number"),
        (row(code="4111\u00a01111\u00a01111\u00a01111"), "card_number"),
        (row(invoice="4111-1111-1111-1111"), "card_number"),
        (row(quantity=-1), "negative_quantity"),
        (row(quantity=0), "zero_quantity"),
        (row(quantity=""), "bad_quantity"),
        (row(quantity="1.5"), "bad_quantity"),
        (row(quantity="1_0"), "bad_quantity"),
        (row(quantity="٣"), "bad_quantity"),
        (row(quantity="9" * 5000), "bad_quantity"),
        (row(quantity=QUANTITY_MAX + 1), "quantity_too_large"),
        (row(price=""), "bad_price"),
        (row(price="nan"), "bad_price"),
        (row(price="1e2"), "bad_price"),
        (row(price="1."), "bad_price"),
        (row(price="-0.01"), "negative_price"),
        (row(price="0.00"), "zero_price"),
        (row(price="0.001"), "price_in_parts_of_a_penny"),
        (row(price="1.005"), "price_in_parts_of_a_penny"),
        (row(price="999999999999"), "price_too_large"),
        ("1,A,A THING,1,12/1/2010 8:34,1.00,7", "wrong_field_count"),
        (row() + ",more", "wrong_field_count"),
    ],
)
def test_a_row_that_no_shop_could_sell_is_refused_with_its_reason(bad: str, reason: str) -> None:
    orders = parse(bad, row("2"))
    assert [(reject.row, reject.reason) for reject in orders.rejects] == [(2, reason)]
    assert len(orders.invoices) == 1


@pytest.mark.parametrize(
    "bad",
    [
        row(invoice="4111-1111-1111-1111"),
        row(invoice="4111 1111 1111 1111"),
        row(code="4111 1111 1111 1111"),
        "4111111111111111,A",
    ],
)
def test_a_card_number_in_a_row_is_not_written_among_the_refused(bad: str, tmp_path: Path) -> None:
    [refused] = parse(bad).rejects
    write_rejects(tmp_path / "rejects.csv", [refused])
    written = (tmp_path / "rejects.csv").read_text("utf-8")
    assert "1111" not in written
    assert "*" * 16 in written


def test_a_row_of_the_wrong_length_spoils_the_invoice_that_it_names() -> None:
    assert reasons(row(), "1,A") == ["other_row_refused", "wrong_field_count"]
    assert parse(row(), "1").rejects[1] == Reject(3, "1", "", "wrong_field_count")


@pytest.mark.parametrize(
    ("text", "minor"), [("1", 100), ("2.1", 210), ("0.29", 29), ("1.150", 115), ("1.1500000", 115)]
)
def test_prices_are_exact(text: str, minor: int) -> None:
    assert parse(row(price=text)).catalogue == {"A": minor}


def test_fields_may_stand_in_blanks() -> None:
    assert parse(row(" 1 ", " A ", " 2 ", " 1.00 ", " 7 ")).invoices == (Invoice("1", "7", (("A", 2),), 1),)


def test_a_customer_may_be_missing() -> None:
    assert parse(row(customer="")).invoices[0].customer == ""


def test_an_invoice_may_hold_as_many_lines_and_pieces_as_a_cart() -> None:
    most = [row(code=f"A{i}") for i in range(LINES_MAX)]
    assert reasons(*most, row(code="A0", quantity=QUANTITY_MAX - 1)) == []
    assert set(reasons(*most, row(code="B"))) == {"too_many_lines"}


def test_a_code_whose_sum_is_too_large_names_its_rows() -> None:
    rows = (row(quantity=QUANTITY_MAX), row(code="B"), row(quantity=1))
    assert reasons(*rows) == ["quantity_too_large", "other_row_refused", "quantity_too_large"]


def test_the_catalogue_has_the_most_frequent_price_and_rows_with_another_are_counted() -> None:
    orders = parse(row("1", price="3"), row("2", price="2"), row("3", price="3"), row("4", price="1"))
    assert orders.catalogue == {"A": 300}
    assert orders.rows_otherwise_priced == 2


def test_of_equally_frequent_prices_the_lowest_wins_whatever_their_order() -> None:
    prices = ("2.00", "3.00", "1.00", "1.00", "2.00", "3.00")
    for turn in range(len(prices)):
        rows = [row(str(i), price=prices[(i + turn) % len(prices)]) for i in range(len(prices))]
        assert parse(*rows).catalogue == {"A": 100}


def test_byte_order_mark_crlf_blank_lines_and_quoted_line_ends_do_no_harm() -> None:
    text = f'\ufeff{HEADER}\r\n\r\n1,A,"TWO\r\nLINES",1,t,1.00,7,X\r\n{row("2", quantity=0)}\r\n'
    orders = parse_orders(io.BytesIO(text.encode()))
    assert [invoice.number for invoice in orders.invoices] == ["1"]
    assert orders.rejects == (Reject(3, "2", "A", "zero_quantity"),)


def test_bytes_that_are_not_utf8_spoil_only_the_columns_that_are_read(tmp_path: Path) -> None:
    data = f"{HEADER}\n{row('1').replace('A THING', '£ 5')}\n{row('2', code='£')}\n".encode("latin-1")
    orders = parse_orders(io.BytesIO(data))
    assert [invoice.number for invoice in orders.invoices] == ["1"]
    assert [reject.reason for reject in orders.rejects] == ["bad_code"]
    write_rejects(tmp_path / "rejects.csv", orders.rejects)
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1] == "3,2,\\udca3,bad_code"


@pytest.mark.parametrize("missing", ["InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID"])
def test_a_missing_column_is_named(missing: str) -> None:
    text = f"{HEADER.replace(missing, 'Other')}\n{row()}\n"
    with pytest.raises(NotOrders, match=f"no column {missing} in the first line"):
        parse_orders(io.BytesIO(text.encode()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (f"{HEADER}\n".encode("utf-16"), "no column InvoiceNo, StockCode"),
        (
            f'{HEADER}\n1,A,"never closed,1,t,1.00,7,X\n{row("2")}\n'.encode(),
            "line 3: unexpected end of data",
        ),
        (gzip.compress(row().encode(), mtime=0)[:-12], "damaged gzip file"),
        (b"\x1f\x8bno gzip at all", "compression"),
    ],
)
def test_a_file_that_cannot_be_read_as_orders_is_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(data)
    with pytest.raises(NotOrders) as error:
        read_orders(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotOrders, match=r"none\.csv: No such file"):
        read_orders(tmp_path / "none.csv")


def test_gzip_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "orders"
    path.write_bytes(gzip.compress(f"{HEADER}\n{row()}\n".encode()))
    assert len(read_orders(path).invoices) == 1


def test_the_rejects_file_lists_every_refused_row(tmp_path: Path) -> None:
    orders = parse(row("C1"), row("2"), row("3", quantity=-2))
    write_rejects(tmp_path / "rejects.csv", orders.rejects)
    with (tmp_path / "rejects.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["row", "invoice", "code", "reason"],
            ["2", "C1", "A", "cancellation"],
            ["4", "3", "A", "negative_quantity"],
        ]


def test_the_shipped_sample_holds_the_1059_clean_invoices() -> None:
    orders = read_orders(SAMPLE)
    assert orders.rows == 20_328
    assert len(orders.invoices) == 1_059
    assert len(orders.catalogue) == 2_157
    assert orders.rows_otherwise_priced == 1_788
    assert Counter(reject.reason for reject in orders.rejects) == {
        "cancellation": 636,
        "other_row_refused": 210,
        "zero_price": 5,
    }
    refused = {reject.invoice for reject in orders.rejects}
    assert len([number for number in refused if number.startswith("C")]) == 261
    assert {"537197", "540372", "550188", "554037"} == {n for n in refused if not n.startswith("C")}
    assert max(pieces for invoice in orders.invoices for _, pieces in invoice.lines) == 74_215
    assert max(len(invoice.lines) for invoice in orders.invoices) == 176


def test_the_shipped_sample_has_no_text_columns_and_names_its_source() -> None:
    with gzip.open(SAMPLE, "rt") as file:
        assert file.readline() == "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID,InvoiceDate\n"
    attribution = (SAMPLE.parent / "ATTRIBUTION.md").read_text()
    for words in ("Daqing Chen", "Online Retail", "UCI Machine Learning Rep", "10.24432/C5BW33", "CC BY 4.0"):
        assert words in attribution


small = st.sampled_from(["1", "2", "-1", "0", "100000", "x", "", "1.5"])
dirty_row = st.one_of(
    st.tuples(
        st.sampled_from(["1", "2", "3", "C4", "", "a b"]),
        st.sampled_from(["A", "B", ""]),
        small,
        st.sampled_from(["1", "0.5", "0", "-2", "0.001", "x"]),
        st.sampled_from(["7", ""]),
    ).map(lambda fields: [fields[0], fields[1], "text", fields[2], "time", fields[3], fields[4], "land"]),
    st.lists(st.text(string.printable, max_size=5), min_size=2, max_size=9),
)


@settings(deadline=None)  # a busy machine is no finding
@given(st.lists(dirty_row, max_size=30))
def test_every_row_is_in_a_clean_invoice_or_refused_never_both(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HEADER.split(","), *rows])
    orders = parse_orders(io.BytesIO(text.getvalue().encode()))
    assert orders.rows == len(rows)
    assert sum(invoice.rows for invoice in orders.invoices) + len(orders.rejects) == len(rows)
    assert len({reject.row for reject in orders.rejects}) == len(orders.rejects)
    assert not {reject.invoice for reject in orders.rejects} & {invoice.number for invoice in orders.invoices}
    for invoice in orders.invoices:
        assert all(code in orders.catalogue and pieces > 0 for code, pieces in invoice.lines)
