"""Several storage programs as one, which share their round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from langchain_agentmem.programs.steps import All, Compute, OffLoop, Program, Step
from langchain_agentmem.programs.storage import StorageProgram


def together(programs: Sequence[Program[Any]]) -> Program[list[Any]]:
    """Return a storage program that runs several storage programs side by side, and returns their results in order.

    The first steps of all programs are one round trip, then their second steps, and so on. No program depends on what
    another one stores. If one of them raises an error, the others are closed.

    Args:
        programs: The programs.

    Example:
        >>> from langchain_agentmem.programs import Fetch, one_statement, run, together
        >>> @one_statement
        ... def count(table):
        ...     ((number,),) = yield from Fetch(f"SELECT count(*) FROM {table}")
        ...     return number
        >>> run(together([count("a"), count("b")]), lambda step: [[(1,)] for _ in step.steps])
        [1, 1]
    """
    restartable = [program for program in programs if isinstance(program, StorageProgram)]
    if len(restartable) < len(programs):
        return _side_by_side(programs)
    single = all(program.single for program in restartable)
    return cast("Program[list[Any]]", StorageProgram("together", lambda: _side_by_side(programs), single=single))


def _side_by_side(programs: Sequence[Program[Any]]) -> Program[list[Any]]:
    running = [iter(program) for program in programs]
    results: list[Any] = [None] * len(running)
    answers: dict[int, Any] = dict.fromkeys(range(len(running)))
    try:
        while answers:
            steps: dict[int, Step[Any]] = {}
            for index, answer in answers.items():
                step, results[index] = yield from _advanced(running[index], answer)
                if step is not None:
                    steps[index] = step
            answers = dict(zip(steps, (yield from _answers(list(steps.values()))), strict=True))
        return results
    finally:
        for program in running:
            program.close()


def _answers(steps: Sequence[Step[Any]]) -> Program[list[Any]]:
    if len(steps) < 2:
        return [(yield from steps[0])] if steps else []
    groups = [step.steps if isinstance(step, All) else None for step in steps]  # a program may itself be several
    flat = [one for step, group in zip(steps, groups, strict=True) for one in ([step] if group is None else group)]
    answers = iter((yield from All(flat)))
    return [next(answers) if group is None else [next(answers) for _ in group] for group in groups]


def _advanced(program: Program[Any], answer: Any) -> Program[tuple[Step[Any] | None, Any]]:
    """Run a program until its next storage step. Return that step, or None with the program's result."""
    try:
        step = program.send(answer)
        while isinstance(step, (Compute, OffLoop)):
            step = program.send((yield step))
    except StopIteration as done:
        return None, done.value
    return step, None
