"""Make the numbers-only sample of real orders: python scripts/extract_sample.py online_retail.csv

Keeps six columns as they are, every row, in the source's order; the same input gives the same bytes.
"""

import csv
import gzip
import io
import sys
from pathlib import Path

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID", "InvoiceDate")
TARGET = Path(__file__).parent.parent / "src/holdfast/local/sample/online_retail.csv.gz"


def extract(source: Path, target: Path) -> int:
    """Write the extract of `source` and return its number of rows."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
    writer.writerows(rows)
    with target.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.getvalue().encode())
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/extract_sample.py online_retail.csv")
    count = extract(Path(sys.argv[1]), TARGET)
    print(f"{count} rows, {TARGET.stat().st_size} bytes: {TARGET}")
