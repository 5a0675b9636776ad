"""Scientific formats on the mount: parquet by pandas, HDF5 by h5py. Each save is one version."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy
import pandas
import pytest

ROWS = 50_000


def saves(file: Path) -> list[Path]:
    return sorted((file.parent / ".versions" / file.name).iterdir())


@pytest.fixture
def table() -> pandas.DataFrame:
    numbers = numpy.arange(ROWS)
    return pandas.DataFrame(
        {
            "number": numbers,
            "root": numpy.sqrt(numbers),
            "word": [f"word {number % 97}" for number in range(ROWS)],
        }
    )


def test_a_table_comes_back_from_parquet_and_so_does_its_past(bucket, table):
    file = bucket / "table.parquet"
    table.to_parquet(file)
    later = table.assign(root=table["root"] * 2)
    later.to_parquet(file)

    assert pandas.read_parquet(file).equals(later)
    first, second = saves(file)
    assert pandas.read_parquet(first).equals(table)
    assert pandas.read_parquet(second).equals(later)
    one_column = pandas.read_parquet(file, columns=["word"], filters=[("number", "<", 3)])
    assert one_column["word"].tolist() == ["word 0", "word 1", "word 2"]


def test_a_table_in_parts_is_read_as_one(bucket, table):
    place = bucket / "table"
    table.assign(part=table["number"] % 3).to_parquet(place, partition_cols=["part"])

    assert sorted(os.listdir(place)) == ["part=0", "part=1", "part=2"]
    back = pandas.read_parquet(place).sort_values("number", ignore_index=True)
    assert back[list(table.columns)].equals(table)


def test_text_tables_are_read_as_they_were_written(bucket, table):
    file = bucket / "table.csv"
    table.to_csv(file, index=False)
    with file.open("a") as out:
        table.head(2).to_csv(out, index=False, header=False)

    assert pandas.read_csv(file).equals(pandas.concat([table, table.head(2)], ignore_index=True))
    assert len(saves(file)) == 2


def test_hdf5_is_changed_in_place_and_each_close_is_one_version(bucket, table):
    file = bucket / "data.h5"
    with h5py.File(file, "w") as out:
        out.create_dataset("root", data=table["root"], chunks=(1000,), compression="gzip")
        out.create_dataset("growing", shape=(0,), maxshape=(None,), chunks=(1000,), dtype="i8")
    for number in range(3):
        with h5py.File(file, "r+") as both:
            growing = both["growing"]
            growing.resize((1000 * (number + 1),))
            growing[-1000:] = number
            both["root"][number] = -1.0

    assert len(saves(file)) == 4
    for index, save in enumerate(saves(file)):
        with h5py.File(save, "r") as past:
            assert past["growing"].shape == (1000 * index,)
            assert int((past["root"][:] < 0).sum()) == index
    with h5py.File(file, "r") as now:
        assert numpy.unique(now["growing"][:]).tolist() == [0, 1, 2]


def test_hdf5_refuses_a_writer_in_another_process_by_its_lock(bucket):
    file = bucket / "data.h5"
    another = [sys.executable, "-c", f"import h5py; h5py.File({str(file)!r}, 'r+').close()"]
    with h5py.File(file, "w") as out:
        out["x"] = 1
        refused = subprocess.run(another, capture_output=True, text=True, timeout=240, check=False)
        assert refused.returncode
        assert "unable to lock file" in refused.stderr
    subprocess.run(another, check=True, timeout=240)
