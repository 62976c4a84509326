"""Everything that is wrong with a data set, gathered before it is reported in one error."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 10  # examples of each kind of problem; the count is always given


class Problems:
    """A list of findings that becomes one error message.

    Args:
        subject: what is checked; the message begins with it.
    """

    def __init__(self, subject: str):
        self.subject = subject
        self.found: list[str] = []

    def add(self, what: str, examples: Sequence[str], advice: str) -> None:
        """Note one kind of problem; no examples means no problem.

        Args:
            what: the kind, as a heading.
            examples: one line an occurrence, with its id and the value found.
            advice: what was expected and what to do.
        """
        if examples:
            self.found.append(describe(what, examples, advice))

    def raise_if_any(self, verdict: str) -> None:
        """Report all findings.

        Args:
            verdict: what they mean for the subject: 'cannot be used'.

        Raises:
            ValueError: something was found.
        """
        if self.found:
            raise ValueError("\n".join([f"{self.subject} {verdict}:", *self.found]))


def describe(what: str, examples: Sequence[str], advice: str) -> str:
    """One kind of problem as text: heading with count, the first examples, advice."""
    lines = [f"- {what} ({len(examples)}):"]
    lines += [f"    {example}" for example in examples[:SHOWN]]
    if len(examples) > SHOWN:
        lines.append(f"    ... and {len(examples) - SHOWN} more")
    return "\n".join([*lines, f"  {advice}"])
