"""`holdfast replay`: real orders through a running platform's public API (holdfast.local.session)."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail
from holdfast.cli.terminal import note, say_json

if TYPE_CHECKING:
    from holdfast.local.keys import Keys
    from holdfast.local.orders import Orders
    from holdfast.local.replay import ReplayPlan
    from holdfast.local.session import RunReport, Target

CONCURRENCY = 32
CONCURRENCY_AT_RATE = 500
_PERCENT = re.compile(r"(\d{1,3}(\.\d{1,6})?)%")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Orders as CSV, plain or gzip.")]
Url = Annotated[
    str | None, typer.Option("--url", help="The gateway's, for a platform that is not on this machine.")
]
TokenKey = Annotated[
    Path | None, typer.Option("--token-key", metavar="FILE", help="With --url: the private signing key.")
]
CartUrl = Annotated[
    str | None, typer.Option(help="With --url: cart-crud's operations address, to load prices.")
]
InventoryUrl = Annotated[
    str | None, typer.Option(help="With --url: inventory-write's operations address, to load stock.")
]
Stock = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Pieces of each code on hand; default: ample.")
]
Decline = Annotated[
    str, typer.Option("--decline", metavar="N%", help="Share of invoices paid with a declining card.")
]
Rate = Annotated[
    float | None, typer.Option(min=0.001, metavar="R", help="Begin so many a second, come what may.")
]
Concurrency = Annotated[
    int | None,
    typer.Option(min=1, metavar="C", help=f"At most so many at once [{CONCURRENCY}; with --rate 500]."),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N invoices.")]
Patience = Annotated[
    float, typer.Option(min=0, metavar="S", help="Seconds after which an unanswered checkout is given up.")
]
Run = Annotated[
    str | None, typer.Option(metavar="NAME", help="Go on with the run of this name; default: a new one.")
]
Rejects = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where refused rows go [DIR/rejects.csv].")
]


def replay(
    file: File,
    *,
    data: Data = DATA_DEFAULT,
    url: Url = None,
    token_key: TokenKey = None,
    cart_url: CartUrl = None,
    inventory_url: InventoryUrl = None,
    stock: Stock = None,
    decline: Decline = "0%",
    rate: Rate = None,
    concurrency: Concurrency = None,
    limit: Limit = None,
    patience: Patience = 300.0,
    run: Run = None,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Replay real orders; every clean invoice becomes a checkout. Exit 0 when all of them are terminal."""
    from holdfast.contracts.card_numbers import mask_card_numbers
    from holdfast.local.replay import ReplayPlan
    from holdfast.local.session import STOCK_AMPLE, fresh_run, is_run_name

    if run is not None and not is_run_name(run):
        shown = mask_card_numbers(run)
        fail(
            ExitCode.USAGE,
            f"--run {shown!r}: letters, digits, '.', '_' and '-' only, at most 64, and no card number",
        )
    plan = ReplayPlan(
        run or fresh_run(),
        resumed=run is not None,
        declined=share(decline),
        rate=rate,
        concurrency=concurrency or (CONCURRENCY_AT_RATE if rate else CONCURRENCY),
        patience_s=patience,
    )
    orders = read(file)
    target = _target(data, url, token_key, cart_url, inventory_url)
    rejects = rejects or (Path() if url else data) / "rejects.csv"
    list_rejects(rejects, orders)
    if not orders.invoices:
        fail(ExitCode.NOT_FOUND, f"{file}: no invoice in it can be sold")
    try:
        report = carry_out(target, orders, plan, STOCK_AMPLE if stock is None else stock, limit)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, f"Interrupted. Go on with it by --run {plan.run}")
    _tell(report, rejects, as_json=as_json)
    raise typer.Exit(ExitCode.FAILED if report.stats.unfinished else ExitCode.DONE)


def read(file: Path) -> "Orders":
    """Read orders, or end the command with one line."""
    from holdfast.local.orders import NotOrders, read_orders

    try:
        return read_orders(file)
    except NotOrders as error:
        fail(ExitCode.USAGE, str(error))


def list_rejects(path: Path, orders: "Orders") -> None:
    """Write the refused rows and say where, or end the command with one line."""
    from holdfast.local.orders import write_rejects

    try:
        write_rejects(path, orders.rejects)
    except OSError as error:
        fail(ExitCode.FAILED, f"{path}: {error.strerror}")
    note(f"Refused rows: {len(orders.rejects):,}, listed in {path}")


def share(percent: str) -> float:
    """Read "5%" as 0.05, or end the command."""
    match = _PERCENT.fullmatch(percent)
    if match is None or float(match[1]) > 100:
        fail(ExitCode.USAGE, f"--decline {percent}: a percentage is expected, such as 5% or 0.5%")
    return float(match[1]) / 100


def carry_out(
    target: "Target", orders: "Orders", plan: "ReplayPlan", stock: int, limit: int | None = None
) -> "RunReport":
    """Replay with a progress bar, or end the command with one line."""
    from holdfast.cli.report import progress
    from holdfast.local.api_client import OutOfPatience, RequestRefused
    from holdfast.local.session import drive, replay_orders
    from holdfast.runtime.http_client import BadAddress

    note(f"Run {plan.run}: {len(orders.invoices[:limit]):,} checkouts through {target.gateway}")
    try:
        with progress(len(orders.invoices[:limit])) as ended:
            return drive(replay_orders(target, orders, plan, stock=stock, limit=limit, ended=ended))
    except BadAddress as error:
        fail(ExitCode.USAGE, str(error))
    except RequestRefused as error:
        fail(ExitCode.FAILED, f"The catalogue could not be loaded: {error}")
    except OutOfPatience as error:
        fail(ExitCode.UNAVAILABLE, f"The catalogue could not be loaded: {error}")


def _target(
    data: Path, url: str | None, token_key: Path | None, cart_url: str | None, inventory_url: str | None
) -> "Target":
    from holdfast.local.info import find
    from holdfast.local.layout import NotRunning
    from holdfast.local.session import Target

    if url is None:
        if token_key or cart_url or inventory_url:
            fail(ExitCode.USAGE, "--token-key, --cart-url and --inventory-url go with --url")
        try:
            return Target.of(find(data))
        except NotRunning as error:
            fail(ExitCode.NOT_FOUND, str(error))
    if token_key is None:
        fail(ExitCode.USAGE, "--url needs --token-key FILE, the key that tokens are signed with")
    keys = _keys(token_key)
    if not (cart_url and inventory_url):
        note("Without both --cart-url and --inventory-url, what is not loaded must be there already.")
    return Target(keys, url, cart_url, inventory_url)


def _keys(token_key: Path) -> "Keys":
    """Take a signing key from anywhere, and try it."""
    from joserfc.errors import JoseError

    from holdfast.local.keys import Keys

    if not token_key.is_file():
        fail(ExitCode.USAGE, f"{token_key} is no private signing key: there is no such file")
    keys = Keys(token_key.parent)
    keys.signing = token_key
    try:
        keys.token("nobody")
    except (JoseError, ValueError, OSError) as error:
        fail(ExitCode.USAGE, f"{token_key} is no private signing key: {error}")
    return keys


def _tell(report: "RunReport", rejects: Path, *, as_json: bool) -> None:
    from holdfast.cli.report import print_report, problems

    for line in problems(report):
        note(line)
    if as_json:
        say_json(report.summary() | {"rejects_file": str(rejects)})
    else:
        print_report(report)
