"""Write the price snapshot that ships with regimeslot from skfolio's bundled data sets.

Run it with skfolio installed (``pip install skfolio pyarrow``); skfolio is not a dependency of
regimeslot itself:

    python scripts/make_bundled_data.py

The prices in the source have at most three decimals, so whole thousandths hold them without loss
and pack into a third of the space that floats take.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from skfolio.datasets import load_sp500_dataset, load_sp500_index

DATA = Path(__file__).resolve().parents[1] / "data"
TICK = 1000  # stored integers are thousandths of a dollar (of an index point)


def main() -> None:
    """Write the snapshot and the licence it comes under."""
    index = load_sp500_index().rename(columns={"SP500": "^GSPC"})
    prices = pd.concat([index, load_sp500_dataset()], axis=1, join="outer").sort_index()
    thousandths = (prices * TICK).round()
    if prices.isna().any(axis=None) or not np.allclose(
        prices * TICK, thousandths, rtol=0, atol=1e-6
    ):
        raise SystemExit("The source changed: a price is missing or has more than three decimals.")

    package = distribution("skfolio")
    columns: dict[str, pa.Array] = {"Date": pa.array(prices.index.date, type=pa.date32())}
    for name, values in thousandths.items():
        columns[str(name)] = pa.array(values.to_numpy(dtype=np.int32))
    table = pa.table(columns).replace_schema_metadata(
        {"source": f"skfolio {package.version}", "licence": "BSD-3-Clause", "tick": f"1/{TICK}"}
    )
    path = DATA / "us_daily_1990_2022.parquet"
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=dict.fromkeys(table.column_names, "DELTA_BINARY_PACKED"),
    )
    licence = package.read_text("licenses/LICENSE") or package.read_text("LICENSE")
    if licence is None:
        raise SystemExit("skfolio's licence text was not found beside the package.")
    (DATA / "LICENSE-skfolio").write_text(licence, encoding="utf-8")
    print(f"{path.name}: {table.num_rows} days, {table.num_columns - 1} series, ", end="")
    print(
        f"{path.stat().st_size:,} bytes, {prices.index[0]:%Y-%m-%d} to {prices.index[-1]:%Y-%m-%d}"
    )


if __name__ == "__main__":
    main()
