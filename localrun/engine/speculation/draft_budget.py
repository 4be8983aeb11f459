"""Budget of one draft source: the time that its draft tokens may still lose.

The unit is a plain step (without draft tokens) of as many sequences. A step with draft tokens
costs more than a plain step and saves one plain step per accepted token of a sequence. Saved time
goes into a balance, losses are paid from it, and no draft is longer than the balance could pay if
all its tokens were rejected. Plain steps add a small income, so that drafts that did not save time
are tried again now and then at a bounded total cost.
"""

from __future__ import annotations

from localrun.engine.pacing.step_costs import running_mean

INITIAL_BALANCE, MAX_BALANCE = 4.0, 20.0  # plain steps; what exceeds the first was saved before
WEIGHT = 0.5  # of a new drafting time in a running mean
INCOME = 0.005  # plain steps per plain step: the share of time that trials may cost


class DraftBudget:
    """Balance of one draft source, and what drafting a token takes, for all sequences."""

    def __init__(self) -> None:
        self.drafting_s = 0.0  # time of the source for each draft token
        self.balance = INITIAL_BALANCE

    def add_income(self) -> None:
        """Count a plain step."""
        self.balance = min(MAX_BALANCE, self.balance + INCOME)

    def record_drafting(self, num_drafts: int, seconds: float) -> None:
        """Record the time that drafting took."""
        drafting_s = seconds / num_drafts
        self.drafting_s = running_mean(self.drafting_s or None, drafting_s, WEIGHT)

    def settle(self, price: float, saved: float) -> None:
        """Charge the price of draft tokens, and credit the steps that accepted ones saved."""
        self.balance = min(MAX_BALANCE, self.balance + saved - price)
