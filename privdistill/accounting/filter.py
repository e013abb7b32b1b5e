"""The privacy filter of a source: what its charges add up to, and whether one more still fits under a fixed cap.

A `Loss` is a vector of sums that only grow: mu squared of the full-batch Gaussians, Renyi divergences on a fixed grid
of orders for Poisson-sampled ones, and the deltas that add up. Each number is rounded up onto a grid of 2^-100, so sums
are exact, the same in any order and on any machine.

A `Cap` is one (epsilon, delta), fixed when a source's ledger begins. Charges may be chosen in sight of everything that
was released before, which is why ordinary composition does not suffice. Rule G admits a history of full-batch Gaussians
whose mu squared stays below that of (epsilon, delta / 2) (Smith & Thakurta 2022, arXiv:2210.17520; Koskela, Tobaben &
Honkela 2023, arXiv:2209.15596: fully adaptive Gaussian DP). Rule A, one for each order, admits a history whose Renyi
divergence of that order stays below that of (epsilon, delta / 4 / orders) (Feldman & Zrnic 2021, arXiv:2008.11193). A
quarter of delta is left to the deltas that add up. A transcript that some rule admitted is, prefix by prefix, one of
the process that this rule alone would have stopped; so the hockey-stick divergence of the whole is at most the sum of
the rules' deltas, and any rule may admit.

It does not know runs, sources or files.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from privdistill.accounting.accountant import Event, gaussian_epsilon, mu_for
from privdistill.errors import PrivacyError

__all__ = ["ORDERS", "Cap", "Loss"]

ORDERS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0)
"""Renyi orders of the filter. A ledger keeps sums for these, so they never change under one schema version."""
_UNIT = 2**100
_BEYOND = 2**40
_ROUNDING = 1e-9
"""Relative; above what floating point loses in a Renyi divergence."""


@dataclass(frozen=True, slots=True)
class Cap:
    """The largest loss that a source may ever suffer, adaptively chosen charges included."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not (math.isfinite(self.epsilon) and self.epsilon > 0 and 0 < self.delta < 1):
            raise PrivacyError(f"expected a cap of epsilon > 0 and 0 < delta < 1, found {self.epsilon}, {self.delta}")

    @property
    def mu_squared(self) -> float:
        """What rule G admits."""
        return mu_for(self.epsilon, self.delta / 2) ** 2

    def renyi(self, order: float) -> float:
        """What rule A admits at `order` (Canonne, Kamath & Steinke 2020, arXiv:2004.00010, Proposition 12)."""
        return self.epsilon - _conversion(order, self.delta / 4 / len(ORDERS))

    @property
    def added_delta(self) -> float:
        """What the deltas that add up may come to."""
        return self.delta / 4


@dataclass(frozen=True, slots=True)
class Loss:
    """Sums over charges, each in units of 2^-100.

    Attributes:
        mu_squared: steps / noise_multiplier squared of the full-batch Gaussians.
        renyi: divergences of the sampled Gaussians, one for each of `ORDERS`.
        delta_added: deltas of discretisation and thresholds.
        delta_composition: deltas at which the runs stated their compositions.
        epsilon: what the runs claimed each by itself; its sum is basic composition.
    """

    mu_squared: int = 0
    renyi: tuple[int, ...] = (0,) * len(ORDERS)
    delta_added: int = 0
    delta_composition: int = 0
    epsilon: int = 0

    @classmethod
    def of(cls, events: Sequence[Event], *, epsilon: float, delta: float, delta_composition: float) -> "Loss":
        """The loss of one run that claims (epsilon, delta), delta_composition of it for the composition."""
        if not (math.isfinite(epsilon) and epsilon >= 0 and 0 < delta_composition <= delta < 1):
            raise PrivacyError("expected a run with epsilon >= 0 and 0 < delta_composition <= delta < 1, all finite")
        full = sum(
            (
                Fraction(event.steps) / Fraction(event.noise_multiplier) ** 2
                for event in events
                if event.sample_rate == 1
            ),
            Fraction(0),
        )
        return cls(
            mu_squared=math.ceil(full * _UNIT),
            renyi=_renyi([event for event in events if event.sample_rate < 1]),
            delta_added=math.ceil((Fraction(delta) - Fraction(delta_composition)) * _UNIT),
            delta_composition=math.ceil(Fraction(delta_composition) * _UNIT),
            epsilon=math.ceil(Fraction(epsilon) * _UNIT),
        )

    @classmethod
    def from_json(cls, found: dict[str, object]) -> "Loss":
        """Read what `as_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        numbers = {name: value for name, value in found.items() if name != "renyi"}
        renyi = found.get("renyi")
        if numbers.keys() != {"mu_squared", "delta_added", "delta_composition", "epsilon"} or not isinstance(
            renyi, list
        ):
            raise ValueError("not the sums of a loss")
        whole = {name: int(str(value)) for name, value in numbers.items()}
        orders = tuple(int(str(value)) for value in renyi)
        if len(orders) != len(ORDERS) or min(*whole.values(), *orders) < 0:
            raise ValueError("not the sums of a loss")
        return cls(renyi=orders, **whole)

    def as_json(self) -> dict[str, object]:
        """Whole numbers as text: most readers of JSON would round them."""
        return {
            "mu_squared": str(self.mu_squared),
            "renyi": [str(value) for value in self.renyi],
            "delta_added": str(self.delta_added),
            "delta_composition": str(self.delta_composition),
            "epsilon": str(self.epsilon),
        }

    def __add__(self, other: "Loss") -> "Loss":
        """The loss of both together."""
        return Loss(
            self.mu_squared + other.mu_squared,
            tuple(a + b for a, b in zip(self.renyi, other.renyi, strict=True)),
            self.delta_added + other.delta_added,
            self.delta_composition + other.delta_composition,
            self.epsilon + other.epsilon,
        )

    def fits(self, cap: Cap) -> bool:
        """Whether the filter admits a history with these sums.

        Guarantee: a process whose every charge is admitted is (cap.epsilon, cap.delta)-DP, however charges are chosen.
        Unit: that of the charges' sensitivities. Adjacency: add or remove one unit.
        """
        return Fraction(self.delta_added, _UNIT) <= Fraction(cap.added_delta) and self._left(cap) >= 0

    def room(self, cap: Cap, *, added_delta: float) -> float:
        """Largest mu of one more full-batch Gaussian, with deltas that add up, that would be admitted; 0: none."""
        if Fraction(self.delta_added, _UNIT) + Fraction(added_delta) > Fraction(cap.added_delta):
            return 0.0
        return math.sqrt(max(0.0, float(self._left(cap))))

    def spent(self, cap: Cap) -> float:
        """Smallest epsilon of a cap of this one's delta under which the filter would have admitted these charges."""
        if not (self.mu_squared or any(self.renyi)):
            return 0.0
        each = cap.delta / 4 / len(ORDERS)
        bounds = [float(self._renyi_at(i)) + _conversion(order, each) for i, order in enumerate(ORDERS)]
        if not any(self.renyi):
            bounds.append(gaussian_epsilon(cap.delta / 2, math.sqrt(self.mu_squared / _UNIT)))
        return max(0.0, min(bounds))

    def stated(self) -> tuple[float, float]:
        """Sums of the epsilons and of the deltas that the runs claimed each by itself."""
        return self.epsilon / _UNIT, self.total_delta()

    def total_epsilon(self) -> float:
        """Epsilon of everything charged, at the sum of the deltas: the smallest of three valid bounds.

        Guarantee: the composition of the charges is (result, delta)-DP, with `delta` = `total_delta()`, for charges
        that were fixed beforehand; what holds for adaptively chosen ones is the cap.
        Unit: that of the charges' sensitivities. Adjacency: add or remove one unit.
        """
        if not (self.mu_squared or any(self.renyi)):
            return 0.0
        delta = min(self.delta_composition / _UNIT, 1 - 1e-12)
        bounds = [self.epsilon / _UNIT]
        if not any(self.renyi):
            bounds.append(gaussian_epsilon(delta, math.sqrt(self.mu_squared / _UNIT)))
        else:
            bounds += [max(0.0, float(self._renyi_at(i)) + _conversion(order, delta)) for i, order in enumerate(ORDERS)]
        return min(bounds)

    def total_delta(self) -> float:
        """Sum of the deltas of the runs."""
        return (self.delta_composition + self.delta_added) / _UNIT

    def _left(self, cap: Cap) -> Fraction:
        """Mu squared that one more full-batch Gaussian may have, by the rule that allows most; negative if none."""
        left = [
            2 * (Fraction(cap.renyi(order)) - self._renyi_at(index)) / Fraction(order)
            for index, order in enumerate(ORDERS)
        ]
        if not any(self.renyi):
            left.append(Fraction(cap.mu_squared) - Fraction(self.mu_squared, _UNIT))
        return max(left)

    def _renyi_at(self, index: int) -> Fraction:
        return (self.renyi[index] + Fraction(ORDERS[index]) * self.mu_squared / 2) / _UNIT


def _conversion(order: float, delta: float) -> float:
    """What is added to a Renyi divergence of `order` to give epsilon at `delta`."""
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def _renyi(events: Sequence[Event]) -> tuple[int, ...]:
    """Divergences of Poisson-sampled Gaussians, both directions (Mironov, Talwar & Zhang 2019; by dp-accounting)."""
    if not events:
        return (0,) * len(ORDERS)
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders=list(ORDERS))
    # It warns of every order at which its series does not converge; such an order is infinite here and admits nothing.
    talkative = logging.getLogger("absl")
    before, talkative.disabled = talkative.disabled, True
    try:
        for event in events:
            gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
            accountant.compose(dp_event.PoissonSampledDpEvent(event.sample_rate, gaussian), event.steps)
    finally:
        talkative.disabled = before
    found = [float(value) * (1 + _ROUNDING) for value in accountant.rdp]
    # An order at which the divergence is not known (not finite) can never admit anything.
    return tuple(math.ceil(Fraction(value if 0 <= value < _BEYOND else _BEYOND) * _UNIT) for value in found)
