"""What each row of the table of steps needs elsewhere, and who else names steps: every lack is a sentence.

Looks at the package as it is imported, so that a test can also ask it about a package with one more step.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from tests.samples import SAGA, SAMPLES

import holdfast
from holdfast.audit.sources import FIELDS, Sources
from holdfast.contracts import steps as steps_module
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import MINOR_MAX, Payload
from holdfast.contracts.steps import (
    COMMON_REASONS,
    FAILURE_REASONS,
    PAYMENT_STEP,
    STEPS,
    Charged,
    FailureReason,
    StepRow,
)
from holdfast.saga.state import Event, SagaInstance
from holdfast.sagas.checkout import VERSIONS
from holdfast.simulation.process import BUILDS, TRANSACTIONS

SRC = Path(holdfast.__file__).parent
NEWEST = VERSIONS[max(VERSIONS)]
CONSTANTS = {name: value for name, value in vars(steps_module).items() if name.isupper()}


def forgotten() -> list[str]:
    """Say what a step, or a reason to refuse one, lacks."""
    sentences = [sentence for row in STEPS for sentence in _lacks(row)]
    if tuple(step.name for step in NEWEST.steps) != tuple(row.name for row in STEPS):
        sentences.append(
            "STEPS in contracts/steps.py has another order than CHECKOUT.steps in sagas/checkout.py"
        )
    return [*sentences, *_reasons()]


def _lacks(row: StepRow) -> Iterator[str]:
    package = row.service.replace("-", "_")
    if row.name not in NEWEST.step_named:
        yield f"no saga has the step {row.name}: add it to CHECKOUT.steps in sagas/checkout.py"
    elif not _contradicts(row):
        yield f"any answer of {row.name} is believed: compare it in _contradiction in sagas/checkout.py"
    if not hasattr(_imported(f"holdfast.services.{package}.main"), "build"):
        yield f"{row.service} has no program: add services/{package}/main.py with build(ports) and main()"
    if row.service not in TRANSACTIONS or row.service not in BUILDS:
        yield f"no simulated process runs {row.service}: add it to simulation/process.py"
    if FIELDS[row.service] not in Sources.__struct_fields__:
        yield f"the audit has no DSN of {row.service}: add `{row.name}: str` to Sources in audit/sources.py"
    if row.undo and row.owed is None:
        yield f"nobody knows what {row.name} owes while its undo is awaited: say owed= in contracts/steps.py"
    for table in row.books:
        if not (SRC / "audit" / "sql" / f"read_{table}.sql").exists():
            yield f"the audit cannot read {table}: add audit/sql/read_{table}.sql"


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def _contradicts(row: StepRow) -> bool:
    """Tell whether an answer in which every field is wrong contradicts what was asked."""
    start = encode(SAMPLES["CheckoutInitiated"])
    saga = SagaInstance(SAGA, NEWEST.name, NEWEST.version, row.pending.state, 2, start)
    event = Event(SAGA, f"{SAGA}:{row.name}:done", row.messages.done, _all_wrong(row.done))
    return bool(NEWEST.contradiction(saga, event))


def _all_wrong(struct: type[Payload]) -> Payload:
    kinds = msgspec.inspect.type_info(struct)
    assert isinstance(kinds, msgspec.inspect.StructType)
    integer = msgspec.inspect.IntType
    return struct(*(MINOR_MAX - 1 if isinstance(each.type, integer) else "ZZZ" for each in kinds.fields))


# -- reasons


def _reasons() -> Iterator[str]:
    said = dict(_said_reasons())
    for code, place in said.items():
        if code not in FAILURE_REASONS:
            yield (
                f"{place} refuses with {code!r}, which has no row: add"
                f" FailureReason({code!r}, sentence, charged) to its step in contracts/steps.py"
            )
    for code in FAILURE_REASONS.keys() - said.keys():
        yield f"nothing fails with {code!r}: take its row out of contracts/steps.py"
    charges = STEPS.index(PAYMENT_STEP)
    for index, row in enumerate(STEPS):
        yield from _certainty(row.reasons, Charged.NEVER if index <= charges else Charged.REFUNDED)
    yield from _certainty(COMMON_REASONS, Charged.REFUNDED)


def _certainty(reasons: tuple[FailureReason, ...], charged: Charged) -> Iterator[str]:
    for reason in reasons:
        if reason.charged is not charged:
            yield f"{reason.code} can only be known to be charged {charged}: say so in contracts/steps.py"


def _said_reasons() -> Iterator[tuple[str, str]]:
    """Yield every reason that services and engine give, with its place; no shopper reads a simulator's."""
    for path in sorted(SRC.rglob("*.py")):
        if "simulation" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                for said in _reasons_of(node, path):
                    place = f"{path.relative_to(SRC).as_posix()}:{said.lineno}"
                    yield str(said.value if isinstance(said, ast.Constant) else _constant(said)), place


def _reasons_of(node: Any, path: Path) -> Iterator[ast.expr]:
    """Yield the reason of `Refused(reason, ...)`, and in the engine that of `saga._replace(reason="...")`."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Refused" and node.args:
            yield node.args[0]
        if name == "_replace" and path.parent.name == "saga":
            found = (word.value for word in node.keywords if word.arg == "reason")
            yield from (value for value in found if isinstance(value, ast.Constant))


def _constant(node: ast.expr) -> Any:
    """Return the value of a constant of contracts/steps.py, or the expression if it is none."""
    return CONSTANTS.get(ast.unparse(node), ast.unparse(node))


# -- who names steps


def steps_named_in() -> dict[str, set[str]]:
    """Return of each file the steps that it names: by message, service, topic, constant, or as a string."""
    said = {word: row.name for row in STEPS for word in _words(row)}
    texts = said | {row.name: row.name for row in STEPS}
    found = {}
    for path in sorted([*SRC.rglob("*.py"), *SRC.rglob("*.sql")]):
        text = path.read_text("utf-8")
        if path.suffix == ".sql":
            steps = {texts[word] for word in re.findall(r"'([^']*)'", text) if word in texts}
        else:
            steps = set(_steps_named(ast.parse(text), said, texts))
        found[path.relative_to(SRC).as_posix()] = steps
    return found


def _words(row: StepRow) -> set[str]:
    messages = row.messages
    names = {messages.do, messages.done, messages.failed, messages.undo, messages.undone, messages.confirm}
    constants = {
        name for name, value in CONSTANTS.items() if value is row or value in (row.service, row.topic)
    }
    return {row.service, row.topic, *names, *constants} - {""}


def _steps_named(tree: ast.Module, said: dict[str, str], texts: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if text in texts:
                yield texts[text]
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word) if word in said:
                yield said[word]
            case _:
                pass
