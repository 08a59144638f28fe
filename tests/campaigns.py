"""Which cases of a campaign are run: see conftest.py."""

import random
from collections.abc import Iterable, Sequence

import pytest


class Campaign:
    """Chooses the cases that a campaign runs: all of them, or a sample by *seed*."""

    def __init__(self, is_whole: bool, seed: int) -> None:
        self.is_whole = is_whole
        self._seed = seed

    @classmethod
    def of(cls, config: pytest.Config) -> "Campaign":
        """Return that of a run of pytest with *config*."""
        return cls(config.option.campaigns, config.option.seed)

    def sample(self, name: str, cases: Iterable, count: int) -> Sequence:
        """Return *count* of the *cases* of the campaign *name*, all of them in a whole one."""
        cases = list(cases)
        if self.is_whole or count >= len(cases):
            return cases
        return random.Random(f"{self._seed} {name}").sample(cases, count)
