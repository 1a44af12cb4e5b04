r"""Networks that learn one regime after another, each in a slot of its own, without labels.

Slot k is a network :math:`f_k` with an error variance, an optimiser and a memory of how its inputs
move. What a step says about its slot is the likelihood of its inputs and of its target,

.. math::
    P(k \mid t) \propto p_k(x_t \mid x_{<t})\, p_k(y_t \mid f_k(x)_t)
        \sum_j A_{jk} P(j \mid t - 1), \qquad A_{kk} = \mathrm{stay},

and a slot learns from the steps it is responsible for, in proportion; without any it is not
touched, neither its weights nor its optimiser's state. Stretches that the best slot explains much
worse than it is used to get a slot of their own, a copy of the best one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from regimeslot.errors import InvalidInputError, NotFittedError
from regimeslot.models.sequential_parts import Slot, Target, check_sequences, check_targets
from regimeslot.models.slot_chain import chain_posterior, cut, follow_use, settled, shares
from regimeslot.models.slot_gate import InputGate
from regimeslot.models.slot_lstm_parts import check_size

__all__ = ["SequentialSlots"]

DOF = 6.0  # of the targets' density
BLOCK = 20  # rows of a stream that are judged together
ENOUGH = 3  # stretches in a row that make a regime, not an accident
NOVELTY = 5.0  # standard deviations beyond a slot's usual error
EXCESS = 0.05  # least share of the target's variance that a new slot must be about
YOUNG = 10  # updates before a slot knows what error is usual


class SequentialSlots:
    """Train any network on regimes in sequence; the slot is found from the data, not given.

    Parameters
    ----------
    build
        function without arguments that gives a fresh network from (B, T, D) to (B, T, p): a
        ``SlotWeight``, or a ``SlotLSTM`` with ``batch_first`` and a head
    max_slots
        most slots; beyond them the best one learns what is new
    learning_rate
        of each slot's Adam
    stay
        probability in (0, 1) that a step's regime is that of the step before
    inputs
        whether slots also recognise their regime by its inputs. Without, only past targets tell.
    random_state
        seed of the first network; later ones are copies

    Attributes
    ----------
    n_slots_ : int
    spawned_at_ : list of int
        number of calls of ``partial_fit`` before each slot
    networks_ : list of Module

    Raises
    ------
    InvalidInputError
        for shapes, sizes and values that do not fit
    NotFittedError
        if asked for a forecast before ``partial_fit``

    Examples
    --------
    >>> import torch
    >>> from regimeslot.models.slot_weight import SlotWeight
    >>> from regimeslot.models.sequential_slots import SequentialSlots
    >>> source = torch.Generator().manual_seed(0)
    >>> learner = SequentialSlots(lambda: SlotWeight(1, 2, 1), learning_rate=0.05)
    >>> x = torch.randn(200, 2, generator=source)
    >>> for law in (x[:, 0], -x[:, 0]):
    ...     for _ in range(150):
    ...         _ = learner.partial_fit(x, law)
    >>> learner.n_slots_
    2
    >>> learner.predict_proba(x, x[:, 0])[-1].round()
    tensor([1., 0.])
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        *,
        max_slots: int = 8,
        learning_rate: float = 1e-2,
        stay: float = 0.98,
        inputs: bool = True,
        random_state: int = 0,
    ) -> None:
        check_size("max_slots", max_slots)
        if not learning_rate > 0:
            raise InvalidInputError(f"expected a positive learning_rate, got {learning_rate!r}")
        if not 0 < stay < 1:
            raise InvalidInputError(f"expected stay in (0, 1), got {stay!r}")
        self.build = build
        self.max_slots = max_slots
        self.learning_rate = learning_rate
        self.stay = stay
        self.inputs = inputs
        self.random_state = random_state
        self.spawned_at_: list[int] = []
        self._slots: list[Slot] = []
        self._wide = True  # targets have a last axis
        self._target = Target()
        self._gate: InputGate | None = None
        self._pool: list[tuple[Tensor, Tensor]] = []
        self._calls = 0
        self._posterior: Tensor | None = None  # after the last row of a stream: (1, K)
        self._past: Tensor | None = None

    @property
    def n_slots_(self) -> int:
        """Number of slots so far."""
        return len(self._slots)

    @property
    def networks_(self) -> list[nn.Module]:
        """The slots' networks, oldest first."""
        return [slot.network for slot in self._slots]

    def partial_fit(self, x: Tensor, y: Tensor) -> Self:
        """Take one step of every slot that is responsible for some of this.

        Parameters
        ----------
        x : (n, D) or (B, T, D)
            Rows of a stream in the order of time, or sequences.
        y : (n,) or (n, p), (B, T) or (B, T, p)
        """
        rows = x.dim() == 2
        x, y = self._check(x, y)
        self._target.add(y)
        if not self._slots:
            self._begin(x, y)
        gate = self._known_gate()
        past = self._past if rows else None
        evidence, errors = self._evidence(x, y, past)
        learn = self._judge(evidence, errors, x, y)
        if len(self._pool) >= ENOUGH and self.n_slots_ < self.max_slots:
            self._spawn()
            evidence, errors = self._evidence(x, y, past)
            learn = torch.ones_like(learn)
        start = self._start(rows)
        recent = gate.recent[: self.n_slots_]
        share = shares((evidence * learn).sum(1), recent)
        r = chain_posterior(evidence, self.stay, start, share=share, smooth=True)
        r = settled(cut(r) * learn.unsqueeze(2), learn, recent)
        recent.copy_(follow_use(recent, r))
        steps = gate.design(x.transpose(0, 1), past, None)
        for number, slot in enumerate(self._slots):
            mine = r[:, :, number].to(x.dtype).T
            if mine.any():
                self._step(slot, x, y, mine, errors[number])
                gate.count(number, steps, mine.T.to(steps.z.dtype))
        if rows:
            self._posterior = chain_posterior(evidence, self.stay, start)[-1]
            self._past = gate.next_past(x.transpose(0, 1), past, None)
        self._calls += 1
        return self

    def predict(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Expected targets, shaped as they came: the slots' forecasts by their probabilities.

        Parameters
        ----------
        x, y
            as in :meth:`partial_fit`. With y, each step knows the targets before it.
        """
        probability, outputs = self._forecast(x, y)
        mean = (probability.unsqueeze(3) * outputs).sum(2)
        mean = mean if self._wide else mean.squeeze(2)
        return mean[0] if x.dim() == 2 else mean

    def predict_proba(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Probability of each slot before the step's own target is known, (n, K) or (B, T, K)."""
        probability, _ = self._forecast(x, y)
        return probability[0] if x.dim() == 2 else probability

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as tensors and numbers that ``torch.save`` writes."""
        state = {
            "slots": [
                {
                    "network": slot.network.state_dict(),
                    "optimiser": slot.optimiser.state_dict(),
                    "variance": slot.variance,
                    "numbers": (slot.usual, slot.spread, slot.updates),
                }
                for slot in self._slots
            ],
            "gate": None if self._gate is None else self._gate.state_dict(),
            "sizes": None if self._gate is None else (self._gate.input_size, self._wide),
            "target": (self._target.n, self._target.mean, self._target.square),
            "pool": self._pool,
            "calls": self._calls,
            "spawned_at": self.spawned_at_,
            "stream": (self._posterior, self._past),
        }
        return copy.deepcopy(state)  # what comes later does not change it

    def load_state_dict(self, state: dict[str, Any]) -> Self:
        """Take over what :meth:`state_dict` gave; ``build`` must give the same network."""
        state = copy.deepcopy(state)
        self._slots = []
        for saved in state["slots"]:
            network = self.build()
            network.load_state_dict(saved["network"])
            slot = self._slot(network, saved["variance"])
            slot.optimiser.load_state_dict(saved["optimiser"])
            slot.usual, slot.spread, slot.updates = saved["numbers"]
            self._slots.append(slot)
        self._gate = None
        if state["sizes"] is not None:
            size, self._wide = state["sizes"]
            self._gate = InputGate(self.max_slots, size, stay=self.stay)
            self._gate.load_state_dict(state["gate"])
        self._target = Target(*state["target"])
        self._pool, self._calls = state["pool"], state["calls"]
        self.spawned_at_ = state["spawned_at"]
        self._posterior, self._past = state["stream"]
        return self

    def _check(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Sequences (B, T, D) and targets (B, T, p)."""
        whole = self._sequences(x)
        known = self._wide if self._slots else None
        y, self._wide = check_targets(y, whole, x.dim() == 2, known)
        return whole, y

    def _sequences(self, x: Tensor) -> Tensor:
        return check_sequences(x, None if self._gate is None else self._gate.input_size)

    def _begin(self, x: Tensor, y: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            network = self.build()
        with torch.no_grad():
            shape = tuple(network(x).shape)
        if shape != tuple(y.shape):
            raise InvalidInputError(
                f"expected a network that gives the target's shape {tuple(y.shape)} for x of "
                f"shape {tuple(x.shape)}, got {shape}"
            )
        self._gate = InputGate(self.max_slots, x.shape[2], stay=self.stay, device=x.device)
        self._gate.set_units(x.transpose(0, 1), None)
        self._gate.recent[0] = 1
        self._slots.append(self._slot(network, self._target.variance.clone()))
        self.spawned_at_.append(self._calls)

    def _slot(self, network: nn.Module, variance: Tensor) -> Slot:
        optimiser = torch.optim.Adam(network.parameters(), self.learning_rate)
        return Slot(network, optimiser, variance)

    def _known_gate(self) -> InputGate:
        if self._gate is None:
            raise NotFittedError("SequentialSlots has seen nothing yet: call partial_fit first")
        return self._gate

    def _start(self, rows: bool) -> Tensor | None:
        """What is known before the first step: in a stream, the slot of the row before."""
        if not rows or self._posterior is None:
            return None
        return nn.functional.pad(self._posterior, (0, self.n_slots_ - self._posterior.shape[1]))

    @torch.no_grad()
    def _outputs(self, x: Tensor) -> Tensor:
        """Forecasts of every slot, (K, B, T, p)."""
        return torch.stack([slot.network.eval()(x) for slot in self._slots])

    @torch.no_grad()
    def _evidence(self, x: Tensor, y: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log density of every step (K, T, B) and errors (K, B, T, p) of every slot."""
        errors = y - self._outputs(x)
        return self._by_target(errors) + self._by_input(x, past), errors

    def _by_target(self, errors: Tensor) -> Tensor:
        variance = torch.stack([slot.variance for slot in self._slots])[:, None, None]
        # Student-t of that variance, output by output.
        distance = errors.square() / variance / (DOF - 2)
        value = -0.5 * variance.log() - 0.5 * (DOF + 1) * torch.log1p(distance)
        return value.sum(3).transpose(1, 2).double()

    def _by_input(self, x: Tensor, past: Tensor | None) -> Tensor:
        gate = self._known_gate()
        if not self.inputs:
            return gate.moment.new_zeros(self.n_slots_, x.shape[1], x.shape[0])
        return gate.log_density(gate.design(x.transpose(0, 1), past, None), self.n_slots_)

    def _judge(self, evidence: Tensor, errors: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Pool the stretches that are new; which steps may be learned from, (T, B) bool."""
        T, B = evidence.shape[1:]
        learn = torch.ones(T, B, dtype=torch.bool, device=x.device)
        if self.n_slots_ == self.max_slots:
            return learn
        pieces = learn.tensor_split(max(T // BLOCK, 1) if B == 1 else 1)
        each = [len(piece) for piece in pieces]
        relative = (errors.square() / self._target.variance).mean(3).transpose(1, 2)
        best, error = [], []
        for part, square in zip(evidence.split(each, 1), relative.split(each, 1), strict=True):
            best.append(part.sum(1).argmax(0))
            error.append(square.mean(1).gather(0, best[-1].unsqueeze(0))[0])
        novel = self._novel(torch.cat(best), torch.cat(error), each[0] * y.shape[2])
        found, end = [], 0
        for length, new in zip(each, novel.view(len(each), B), strict=True):
            start, end = end, end + length
            learn[start:end, new] = False
            found += [(x[row, start:end], y[row, start:end]) for row in new.nonzero().flatten()]
        self._pool = [*self._pool, *found] if found else []
        return learn

    def _novel(self, best: Tensor, error: Tensor, count: int) -> Tensor:
        """Which stretches have errors beyond what their slot is used to; one or all together."""
        novel = torch.zeros_like(best, dtype=torch.bool)
        log_error = error.clamp(min=1e-12).log()
        for number, slot in enumerate(self._slots):
            mine = best == number
            if slot.updates < YOUNG or not mine.any():
                continue
            z = (log_error - slot.usual) / math.sqrt(max(slot.spread, 2.0 / count))
            together = z[mine].mean() * mine.sum().sqrt() > NOVELTY
            large = mine & (error - math.exp(slot.usual) > EXCESS)
            novel |= large & (z > (1.0 if together else NOVELTY))
        return novel

    def _spawn(self) -> None:
        """Give the pooled stretches a copy of the network that explains them best."""
        errors, counts = [], []
        for x, y in self._pool:
            errors.append((y - self._outputs(x.unsqueeze(0))[:, 0]).square().mean(1))
            counts.append(len(x))
        weight = torch.tensor(counts, dtype=errors[0].dtype, device=errors[0].device)
        mean = (torch.stack(errors) * weight[:, None, None]).sum(0) / weight.sum()
        best = int((mean / self._target.variance).mean(1).argmin())
        self._slots.append(self._slot(copy.deepcopy(self._slots[best].network), mean[best]))
        self.spawned_at_.append(self._calls)
        gate = self._known_gate()
        gate.recent[self.n_slots_ - 1] = 1
        gate.recent /= gate.recent.sum()
        for x, _ in self._pool:
            steps = gate.design(x.unsqueeze(1), None, None)
            gate.count(self.n_slots_ - 1, steps, steps.steps.to(steps.z.dtype))
        self._pool = []

    def _step(self, slot: Slot, x: Tensor, y: Tensor, r: Tensor, errors: Tensor) -> None:
        """One optimiser step on the steps a slot is responsible for, r (B, T)."""
        total = r.sum()
        square = (r.unsqueeze(2) * errors.square()).sum((0, 1)) / total
        own = r.sum(1) > 0.5 * r.shape[1]
        relative = (r.unsqueeze(2) * errors.square() / self._target.variance).mean(2).sum(1)
        log_error = (relative / r.sum(1).clamp(min=1e-6))[own].clamp(min=1e-12).log()
        self._settle(slot, log_error)
        share = 1 / min(slot.updates + 1, 20)
        slot.variance = (1 - share) * slot.variance + share * square
        slot.updates += 1
        slot.network.train()
        loss = (r.unsqueeze(2) * (y - slot.network(x)).square() / self._target.variance).sum()
        slot.optimiser.zero_grad()
        (loss / (total * y.shape[2])).backward()
        nn.utils.clip_grad_norm_(slot.network.parameters(), 1.0)
        slot.optimiser.step()

    def _settle(self, slot: Slot, log_error: Tensor) -> None:
        """Follow what errors are usual: quickly, for a network still gets better."""
        if not len(log_error):
            return
        share = 1 / min(slot.updates + 1, 10)
        move = float(log_error.mean()) - slot.usual
        within = float(log_error.var(correction=0))
        slot.spread = (1 - share) * slot.spread + share * within + share * (1 - share) * move**2
        slot.usual += share * move

    def _forecast(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Probabilities (B, T, K) before the step's target, and forecasts (B, T, K, p)."""
        self._known_gate()
        rows = x.dim() == 2
        if y is None:
            x = self._sequences(x)
        else:
            x, y = self._check(x, y)
        past = self._past if rows else None
        by_input, outputs = self._by_input(x, past), self._outputs(x)
        evidence = by_input if y is None else by_input + self._by_target(y - outputs)
        K = self.n_slots_
        start = self._known_gate().start(K, len(x), self._start(rows))
        after = chain_posterior(evidence, self.stay, start)
        before = torch.cat([start.unsqueeze(0), after[:-1]])
        expected = (self.stay * before + (1 - self.stay) / K).log() + by_input.permute(1, 2, 0)
        probability = torch.softmax(expected, 2).transpose(0, 1).to(outputs.dtype)
        return probability, outputs.permute(1, 2, 0, 3)
