"""Repeat a finding: the command that searches its small world, and a test that makes the same moves."""

import re
from typing import NamedTuple

from holdfast.simulation.proof.definition_model import Part
from holdfast.simulation.proof.prove import Job
from holdfast.simulation.proof.report import Finding, named
from holdfast.simulation.proof.search import Search
from holdfast.simulation.proof.space import System
from holdfast.simulation.run import quiet_logs

TEST = '''\
{imports}
from holdfast.simulation.proof.replay import walk


def test_{name}() -> None:
    moves = """
        {moves}
    """
    assert walk({system}, moves) == []
'''


def walk(system: System, moves: str) -> list[str]:
    """Make these moves, one a line; return what breaks on the way or, without more faults, afterwards.

    A move that cannot happen is skipped: the fixed service may not make it any more.
    """
    search, state = Search(system, 0), system.start()
    space = search.space
    with quiet_logs():
        for line in filter(None, map(str.strip, moves.splitlines())):
            search_move = next(
                (search_move for words, search_move in named(space, state) if words == line), None
            )
            if search_move is None:
                continue
            state = space.after(state, *search_move)
            broken = [what for what in (*search_move.move.broken, system.safety(state)) if what]
            if broken:
                return broken
        return [finding.what for finding in search.run(state).findings]


class Source(NamedTuple):
    """Saga definition and examples as MODULE:NAME; both empty for the checkout's own services."""

    saga: str = ""
    examples: str = ""

    def command(self, job: Job, finding: Finding) -> str:
        """Return the command that finds this again."""
        what = f"--saga {self.saga} --examples {self.examples}" if self.saga else "--exhaustive"
        return f'holdfast simulate {what} --only "{job.scope.name}" --faults {finding.faults}'

    def regression_test(self, job: Job, finding: Finding) -> str:
        """Write a module with a test that makes the moves of a finding and expects that nothing breaks."""
        if isinstance(job.scope, Part):
            (of_saga, definition), (of_examples, payloads) = self.saga.split(":"), self.examples.split(":")
            imports = [f"from {of_saga} import {definition}", f"from {of_examples} import {payloads}"]
            imports.append("from holdfast.simulation.proof.definition_model import DefinitionModel, Part")
            part = f"{definition}, {payloads}, {job.scope.refuses!r}, {job.scope.sagas}"
            system = f"DefinitionModel(Part({part}))"
        else:
            imports = ["from holdfast.simulation.proof.checkout import CheckoutModel, scope_named"]
            system = f'CheckoutModel(scope_named("{job.scope.name}"))'
        name = re.sub(r"\W+", "_", f"{job.scope.name} {finding.what.partition(':')[0]}").lower()
        moves = "\n        ".join(finding.story)
        return TEST.format(imports="\n".join(imports), name=name, moves=moves, system=system)
