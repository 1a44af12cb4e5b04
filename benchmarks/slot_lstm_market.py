"""What slot memory is worth on the S&P 500, walked forward as ``regimeslot fit`` does.

    OMP_NUM_THREADS=1 python benchmarks/slot_lstm_market.py [--end 2010-12-31] [--ticker ^GSPC]

The bundled series, yearly refits, 2,500 returns before the first forecast. Prints the log-score
gain of ``slot-lstm`` over GJR-GARCH with a Student-t, over the experts that it starts from, and
over ``lstm``, the ordinary LSTM with as many parameters; what either adds to the pool of the slot
models; and the seconds of its walk-forward. The design (window, sizes, penalties, schedule) was
chosen on the part that ends with 2010 alone, which ``--end 2010-12-31`` shows.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.evaluation.walk_forward import Study, walk_forward
from regimeslot.features import make_dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.catalogue import POOL_MEMBERS
from regimeslot.prices import load_prices

PEER, NETWORK, CONTROL = "gjr-garch", "slot-lstm", "lstm"
REFERENCES = (PEER, "slots-single", "slots-static", CONTROL)
WANTED_GAIN, WANTED_T, WANTED_MINUTES = 0.010, 2.5, 5.0


def difference(better: np.ndarray, than: np.ndarray) -> str:
    test = diebold_mariano(-than, -better)
    return f"{test.mean_difference:+.4f} nats a day (t {test.t:+.1f})"


def pooled(study: Study, *more: str) -> np.ndarray:
    """Log scores of the equal pool of the catalogue's members and ``more``."""
    members = [study.forecasts[name] for name in (*POOL_MEMBERS, *more)]
    return MixtureForecast.pool(members).logpdf(study.y.to_numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticker", default="^GSPC")
    parser.add_argument("--end", help="last day to use")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    dataset = make_dataset(load_prices(options.ticker, source="bundled", end=options.end))
    others = dict.fromkeys((*REFERENCES, *POOL_MEMBERS))
    study = walk_forward([*others], dataset)
    began = time.perf_counter()
    alone = walk_forward([NETWORK], dataset)
    wall = time.perf_counter() - began

    first, last = study.y.index[0], study.y.index[-1]
    print(f"{options.ticker}: {len(study.y):,} forecasts, {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    score = alone.log_scores()[NETWORK].to_numpy()
    scores = {name: values.to_numpy() for name, values in study.log_scores().items()}
    for name in REFERENCES:
        wanted = f"; wanted at least {WANTED_GAIN:+.3f}, t > {WANTED_T}" if name == PEER else ""
        print(f"{NETWORK} over {name}: {difference(score, scores[name])}{wanted}")
        if name != PEER:
            print(f"    {name} over {PEER}: {difference(scores[name], scores[PEER])}")
    study.forecasts[NETWORK] = alone.forecasts[NETWORK]
    pool = pooled(study)
    print(f"pool of {', '.join(POOL_MEMBERS)} over {PEER}: {difference(pool, scores[PEER])}")
    for name in (NETWORK, CONTROL, "slots-static"):
        print(f"    what {name} adds to it: {difference(pooled(study, name), pool)}")
    for name, model in ((NETWORK, alone.models[NETWORK]), (CONTROL, study.models[CONTROL])):
        size = sum(weights.size for weights in model.networks_[0].values())
        used = sum(training["in_use"] for training in model.training_)
        print(
            f"{name}: {size:,} parameters a network; at the last refit {used} of "
            f"{len(model.training_)} networks in use"
        )
    print(
        f"walk-forward of {NETWORK}: {alone.seconds[NETWORK]:.0f} s CPU, {wall:.0f} s wall "
        f"(wanted: at most {60 * WANTED_MINUTES:.0f}); {CONTROL} {study.seconds[CONTROL]:.0f} s CPU"
    )


if __name__ == "__main__":
    main()
