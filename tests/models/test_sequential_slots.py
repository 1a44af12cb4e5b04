"""Networks trained on regimes in sequence: what stays, what is found, and what is refused."""

import copy
import io

import pytest
import torch
from torch import nn

import regimeslot
from regimeslot.errors import InvalidInputError, NotFittedError
from regimeslot.models.sequential_slots import SequentialSlots
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_weight import SlotWeight

LAWS = torch.tensor([[1.0, -0.5, 0.0], [-1.0, 0.5, 0.3], [0.2, 1.0, -1.0]])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def linear():
    return SlotWeight(1, 3, 1)


def rows(regime, n=60, noise=0.3):
    x = torch.randn(n, 3)
    return x, x @ LAWS[regime] + noise * torch.randn(n)


def learner(**options):
    return SequentialSlots(linear, **{"learning_rate": 0.1, **options})


def follow(model, regimes, calls=35, **options):
    for regime in regimes:
        for _ in range(calls):
            model.partial_fit(*rows(regime, **options))
    return model


@pytest.fixture(scope="module")
def _taught():
    torch.manual_seed(1)
    return follow(learner(), [0, 1])


@pytest.fixture
def taught(_taught):
    """A model that knows two regimes."""
    return copy.deepcopy(_taught)


def everything(slot):
    return copy.deepcopy(
        (slot.network.state_dict(), slot.optimiser.state_dict(), slot.variance, slot.updates)
    )


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_conflicting_laws_get_a_slot_each_and_keep_it():
    model = follow(learner(), [0, 1, 2, 0, 1])
    assert model.n_slots_ == 3
    assert model.spawned_at_[0] == 0
    assert 35 <= model.spawned_at_[1] <= 37
    assert 70 <= model.spawned_at_[2] <= 72
    for regime, network in enumerate(model.networks_):
        torch.testing.assert_close(
            network.weight[0].detach(), LAWS[regime], rtol=0, atol=0.15, msg=str(regime)
        )
    for regime in range(3):
        x, y = rows(regime, 200)
        error = (model.predict(x, y) - y)[20:].square().mean()
        assert error < 1.3 * 0.3**2


def test_the_slots_that_are_not_meant_are_bit_exact(taught):
    model = taught
    first = everything(model._slots[0])
    moment = model._gate.moment[0].clone()
    follow(model, [1, 2])
    assert same(first, everything(model._slots[0]))
    assert torch.equal(moment, model._gate.moment[0])
    second = everything(model._slots[1])
    follow(model, [0], calls=10)
    assert same(second, everything(model._slots[1]))
    assert not same(first, everything(model._slots[0]))


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_no_regimes_no_slots(noise):
    assert follow(learner(), [0], calls=80, noise=noise, n=40).n_slots_ == 1


def test_a_few_outliers_are_no_regime():
    model = follow(learner(), [0])
    before = everything(model._slots[0])
    x, y = rows(0, 20)
    model.partial_fit(x, y + 50)  # one stretch: not learned from, and no slot
    assert model.n_slots_ == 1
    assert same(before, everything(model._slots[0]))
    follow(model, [0], calls=20)
    assert model.n_slots_ == 1


def test_a_law_that_drifts_slowly_is_one_regime():
    model = learner()
    for step in range(100):
        x, _ = rows(0)
        law = torch.lerp(LAWS[0], LAWS[1], step / 100)
        model.partial_fit(x, x @ law + 0.3 * torch.randn(60))
    assert model.n_slots_ == 1


def test_inputs_tell_where_no_target_is_seen():
    model = learner()
    for level in (0.0, 5.0):
        for _ in range(35):
            x, y = rows(int(level > 0))
            model.partial_fit(x + level, y)
    assert model.n_slots_ == 2
    for level in (0.0, 5.0):
        x, y = rows(int(level > 0), 200)
        assert (model.predict(x + level)[10:] - y[10:]).square().mean() < 0.2
    blind = follow(learner(inputs=False), [0, 1])
    x, _ = rows(0, 100)
    # the last regime is what is left to believe, and less so from row to row
    chance = blind.predict_proba(x)
    torch.testing.assert_close(chance.sum(1), torch.ones(100), rtol=1e-5, atol=1e-6)
    assert chance[0, 1] > 0.9
    assert abs(chance[-1, 1] - 0.5) < 0.1


def test_a_forecast_does_not_see_its_own_target_nor_later_ones(taught):
    model = taught
    x, y = rows(0, 100)
    later_x, later_y = x.clone(), y.clone()
    later_y[50:] += 30
    later_x[51:] -= 30
    found, expected = model.predict(later_x, later_y), model.predict(x, y)
    torch.testing.assert_close(found[:51], expected[:51], rtol=1e-5, atol=1e-6)


def test_forecasts_change_nothing(taught):
    model = taught
    before = model.state_dict()
    model.predict(*rows(0))
    model.predict_proba(rows(1)[0])
    assert same(before, model.state_dict())


def test_state_goes_through_a_file_and_learns_on_alike(taught):
    model = taught
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = learner().load_state_dict(torch.load(file, weights_only=True))
    batches = [rows(2) for _ in range(20)]
    for one in (model, other):
        for batch in batches:
            one.partial_fit(*batch)
    assert same(model.state_dict(), other.state_dict())


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = SlotLSTM(1, 6, n_slots=2, batch_first=True)
        self.head = nn.Linear(6, 1)

    def forward(self, x):
        return self.head(self.layer(x)[0])


@pytest.mark.slow
def test_sequences_of_conflicting_regimes():
    model = SequentialSlots(Reader, learning_rate=0.02)

    def sample(sign):
        x = torch.randn(16, 15, 1)
        return x, sign * torch.cat([torch.zeros(16, 1, 1), x[:, :-1]], 1)

    for sign in (1, -1):
        for _ in range(150):
            model.partial_fit(*sample(sign))
    assert model.n_slots_ == 2
    for slot, sign in enumerate((1, -1)):
        x, y = sample(sign)
        assert model.predict(x, y).shape == y.shape
        assert model.predict_proba(x, y)[:, 5:, slot].mean() > 0.95
        assert (model.predict(x, y) - y)[:, 5:].square().mean() < 0.2


def test_the_cap_holds_and_then_the_best_learns():
    model = follow(learner(max_slots=2), [0, 1, 2])
    assert model.n_slots_ == 2
    x, y = rows(2, 200)
    assert (model.predict(x, y) - y).square().mean() < 0.3


def test_one_slot_is_plain_training():
    model = follow(learner(max_slots=1), [])
    torch.manual_seed(0)
    network = linear()
    steps = torch.optim.Adam(network.parameters(), 0.1)
    batches = [rows(0) for _ in range(30)]
    target = regimeslot.models.sequential_parts.Target()
    for x, y in batches:
        model.partial_fit(x, y)
        target.add(y[None, :, None])
        loss = (network(x).squeeze(1) - y).square().mean() / target.variance
        steps.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        steps.step()
    torch.testing.assert_close(model.networks_[0].weight, network.weight, rtol=1e-4, atol=1e-5)


def test_what_is_refused():
    with pytest.raises(InvalidInputError, match="max_slots to be a positive integer, got 0"):
        SequentialSlots(linear, max_slots=0)
    with pytest.raises(InvalidInputError, match="positive learning_rate, got -1"):
        SequentialSlots(linear, learning_rate=-1)
    with pytest.raises(InvalidInputError, match=r"stay in \(0, 1\), got 1.0"):
        SequentialSlots(linear, stay=1.0)
    with pytest.raises(NotFittedError, match="partial_fit first"):
        learner().predict(torch.zeros(5, 3))
    model = learner()
    with pytest.raises(InvalidInputError, match=r"target's shape \(1, 5, 2\) .* got \(1, 5, 1\)"):
        model.partial_fit(torch.zeros(5, 3), torch.zeros(5, 2))
    model = follow(learner(), [0], calls=1)
    for x, y, message in (
        (torch.zeros(0, 3), torch.zeros(0), r"none of them zero, got \(0, 3\)"),
        (torch.zeros(5), torch.zeros(5), r"got \(5,\)"),
        (torch.zeros(5, 4), torch.zeros(5), r"3 inputs, as before, got x of shape \(5, 4\)"),
        (torch.zeros(5, 3), torch.zeros(4), r"1 sequences of 5 steps, got y of shape \(4,\)"),
        (torch.zeros(5, 3), torch.zeros(5, 1), "without a last axis, as before"),
        (torch.full((5, 3), torch.nan), torch.zeros(5), "finite x, got 15 NaN"),
        (torch.zeros(5, 3), torch.full((5,), torch.inf), "finite y, got 5 NaN or infinite"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            model.partial_fit(x, y)


def test_a_single_row_at_a_time_is_taken():
    model = learner()
    for x, y in zip(*rows(0, 40), strict=True):
        model.partial_fit(x[None], y[None])
    assert model.n_slots_ == 1
    assert regimeslot.SequentialSlots is SequentialSlots
