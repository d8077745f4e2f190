"""What is particular to the Parquet sink: the link, the versions, the names of parts."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.errors import ConfigurationError, SinkError
from assay.sinks import Mode, Parquet, Staged, discard, publish
from assay.sinks.staging import PART_ROWS


def prepare(
    root: Path, run: str, frame: pl.DataFrame, mode: Mode = "append", *, rows: int = 2, batch: int = 1_000_000
) -> Staged:
    target = Parquet("out/lines", mode=mode, key=("id",), part_rows=rows).open(
        root, root / ".assay" / run / "lines", "lines", default=""
    )
    target.check(frame.schema)
    for part in frame.iter_slices(batch):
        target.stage(part)
    return target.prepare()


def run(root: Path, name: str, ids: list[int], mode: Mode = "append") -> None:
    staged = prepare(
        root, name, pl.DataFrame({"id": ids, "run": name}, schema={"id": pl.Int64, "run": pl.String}), mode
    )
    assert publish(staged, name)
    discard(staged)


def parts(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "out/lines").iterdir())


def test_any_tool_reads_the_folder(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1, 2, 3])
    out = tmp_path / "out/lines"
    assert out.is_symlink()
    assert not out.readlink().is_absolute()
    assert pl.read_parquet(f"{out}/*.parquet")["id"].to_list() == [1, 2, 3]
    assert pl.read_parquet(out)["id"].to_list() == [1, 2, 3]


def test_the_project_can_be_moved(tmp_path: Path) -> None:
    run(tmp_path / "a", "r1", [1])
    (tmp_path / "a").rename(tmp_path / "b")
    run(tmp_path / "b", "r2", [2])
    assert pl.read_parquet(tmp_path / "b/out/lines/*.parquet")["id"].to_list() == [1, 2]


def test_an_append_links_what_is_there_and_an_upsert_rewrites_only_what_changes(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1, 2, 3, 4])
    first, second = parts(tmp_path)
    nodes = {name: (tmp_path / "out/lines" / name).stat().st_ino for name in (first, second)}

    run(tmp_path, "r2", [5])
    assert parts(tmp_path)[:2] == [first, second]
    run(tmp_path, "r3", [3], "upsert")

    names = parts(tmp_path)
    assert len(names) == 4
    assert names[0] == first
    assert second not in names
    assert (tmp_path / "out/lines" / first).stat().st_ino == nodes[first]
    found = pl.read_parquet(tmp_path / "out/lines/*.parquet")
    assert found.rows() == [(1, "r1"), (2, "r1"), (4, "r1"), (5, "r2"), (3, "r3")]


def test_parts_depend_on_the_rows_and_not_on_the_batches_they_came_in(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(1_000), "text": [str(i % 7) for i in range(1_000)]})
    found = []
    for batch in (1, 7, 333, 1_000):
        root = tmp_path / str(batch)
        publish(prepare(root, "r1", frame, rows=300, batch=batch), "r1")
        found.append({name: (root / "out/lines" / name).read_bytes() for name in parts(root)})
    assert len(found[0]) == 4
    assert found[0] == found[1] == found[2] == found[3]


def test_the_name_of_a_part_is_never_used_for_other_rows(tmp_path: Path) -> None:
    """A reader that listed one version and opens through the link after a swap must not find others' rows."""
    seen: dict[str, bytes] = {}
    for number in range(4):
        run(tmp_path, f"r{number}", [10, 20, 30 + number, 40], "replace" if number < 3 else "append")
        for path in (tmp_path / "out/lines").iterdir():
            assert seen.setdefault(path.name, path.read_bytes()) == path.read_bytes()
    assert len(seen) > 4


def test_the_previous_version_stays_for_those_who_read_it_and_older_ones_go(tmp_path: Path) -> None:
    target = Parquet("out/lines").open(tmp_path, tmp_path / "s", "lines", default="")
    run(tmp_path, "r1", [1], "replace")
    old = target.read()
    assert old is not None
    run(tmp_path, "r2", [2], "replace")
    assert old.collect()["id"].to_list() == [1]
    run(tmp_path, "r3", [3], "replace")
    versions = tmp_path / "out/.lines.versions"
    assert sorted(path.name for path in versions.iterdir() if path.is_dir()) == ["000002-r2", "000003-r3"]
    assert sorted(path.name for path in versions.glob("*.json")) == ["000002-r2.json", "000003-r3.json"]


def test_what_a_crash_left_is_gone_after_the_next_run(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1])
    half = tmp_path / "out/.lines.versions/000002-r2"
    half.mkdir()
    (half / "part-00000-00000000.parquet").write_bytes(b"half")
    run(tmp_path, "r2", [2])
    assert pl.read_parquet(tmp_path / "out/lines/*.parquet")["id"].to_list() == [1, 2]
    (tmp_path / "out/.lines.versions/000003-r9").mkdir()
    run(tmp_path, "r3", [3])
    assert not (tmp_path / "out/.lines.versions/000003-r9").exists()


@pytest.mark.parametrize("kind", ["folder", "full folder", "file", "link", "dangling link"])
def test_what_assay_did_not_make_is_never_touched(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out/lines"
    out.parent.mkdir()
    (tmp_path / "mine").mkdir()
    match kind:
        case "folder":
            out.mkdir()
        case "full folder":
            out.mkdir()
            (out / "a.parquet").write_bytes(b"mine")
        case "file":
            out.write_bytes(b"mine")
        case "link":
            out.symlink_to("../mine")
        case "dangling link":
            out.symlink_to("nowhere")
    with pytest.raises(SinkError, match=r"output lines: .*out/lines is a .* that Assay did not make: move it away"):
        prepare(tmp_path, "r1", pl.DataFrame({"id": [1]}))
    assert not (tmp_path / "out/.lines.versions").exists()


def test_what_comes_there_between_preparing_and_publishing_is_not_touched_either(tmp_path: Path) -> None:
    staged = prepare(tmp_path, "r1", pl.DataFrame({"id": [1]}))
    (tmp_path / "out/lines").mkdir(parents=True)
    (tmp_path / "out/lines/a.parquet").write_bytes(b"mine")
    with pytest.raises(SinkError, match="did not make"):
        publish(staged, "r1")
    assert (tmp_path / "out/lines/a.parquet").read_bytes() == b"mine"


def test_a_link_to_a_version_that_is_gone_says_how_to_begin_anew(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1])
    (tmp_path / "out/.lines.versions/000001-r1.json").unlink()
    with pytest.raises(SinkError, match="000001-r1, which is gone: remove the link to begin anew"):
        Parquet("out/lines").open(tmp_path, tmp_path / "s", "lines", default="").read()
    (tmp_path / "out/lines").unlink()
    run(tmp_path, "r2", [2])
    assert pl.read_parquet(tmp_path / "out/lines/*.parquet")["id"].to_list() == [2]


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file where a folder is needed")
    target = Parquet("else/lines").open(tmp_path, tmp_path / "out/staging", "lines", default="")
    target.check(pl.Schema({"id": pl.Int64()}))
    target.stage(pl.DataFrame({"id": [1]}))
    with pytest.raises(SinkError, match=r"output lines: cannot write to .*part-00000\.parquet"):
        target.prepare()


def test_without_hard_links_parts_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    run(tmp_path, "r1", [1, 2, 3])
    run(tmp_path, "r2", [4])
    assert pl.read_parquet(tmp_path / "out/lines/*.parquet")["id"].to_list() == [1, 2, 3, 4]


def test_odd_names_of_runs_and_folders_stay_in_their_place(tmp_path: Path) -> None:
    sink = Parquet("out/a [b] {c} $x 'y'*.parquet", mode="append")
    for name in ("../../r1", "r;2\n"):
        target = sink.open(tmp_path, tmp_path / "s", "lines", default="")
        target.check(pl.Schema({"id": pl.Int64()}))
        target.stage(pl.DataFrame({"id": [1]}))
        assert publish(target.prepare(), name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s"]
    found = sink.open(tmp_path, tmp_path / "s", "lines", default="").read()
    assert found is not None
    assert found.collect().height == 2


def test_the_columns_of_an_append_must_stand_in_the_same_order(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1])
    with pytest.raises(SinkError, match="in the order id, run; now it is run, id"):
        prepare(tmp_path, "r2", pl.DataFrame({"run": ["x"], "id": [1]}))


def test_a_manifest_lists_who_has_published(tmp_path: Path) -> None:
    run(tmp_path, "r1", [1])
    run(tmp_path, "r2", [2])
    content = json.loads((tmp_path / "out/.lines.versions/000002-r2.json").read_text())
    assert content["published"] == [["r1", "lines"], ["r2", "lines"]]
    assert content["previous"] == "000001-r1"


@pytest.mark.parametrize(
    ("path", "rows", "words"), [("", 1, "names no folder"), ("a\x00b", 1, "names no folder"), ("a", 0, "part_rows")]
)
def test_a_sink_that_makes_no_sense_is_refused_when_it_is_written_down(path: str, rows: int, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Parquet(path, part_rows=rows)


@pytest.mark.parametrize(
    ("dtype", "words"), [(pl.Struct([]), "struct without fields"), (pl.List(pl.Int128()), "Int128.*cast it")]
)
def test_a_type_that_parquet_cannot_store_is_named(tmp_path: Path, dtype: pl.DataType, words: str) -> None:
    target = Parquet("out").open(tmp_path, tmp_path / "s", "lines", default="")
    with pytest.raises(SinkError, match=f'column "odd".* {words}'):
        target.check(pl.Schema({"odd": dtype}))


def test_no_columns_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no column"):
        Parquet("out").open(tmp_path, tmp_path / "s", "lines", default="").check(pl.Schema())


def test_a_part_has_room_for_a_good_deal_of_rows() -> None:
    assert Parquet("out").part_rows == PART_ROWS > 100_000


# Files and partitions -------------------------------------------------------------------------------------------------


def put(root: Path, name: str, frame: pl.DataFrame, sink: Parquet) -> None:
    target = sink.open(root, root / ".assay" / name / "lines", "lines", default="")
    target.check(frame.schema)
    target.stage(frame)
    staged = target.prepare()
    assert publish(staged, name)
    discard(staged)


def read(root: Path, sink: Parquet) -> pl.DataFrame:
    found = sink.open(root, root / "s", "lines", default="").read()
    assert found is not None
    return found.collect()


def test_no_file_is_larger_than_it_may_be(tmp_path: Path) -> None:
    texts = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(2_000)]
    frame = pl.DataFrame({"id": range(2_000), "text": texts})
    put(tmp_path, "r1", frame, Parquet("out/lines", file_bytes=10_000))
    sizes = [path.stat().st_size for path in (tmp_path / "out/lines").iterdir()]
    assert 8 < len(sizes) < 40
    assert max(sizes) <= 10_000
    assert pl.read_parquet(tmp_path / "out/lines").equals(frame)
    put(tmp_path, "r2", frame[:3], Parquet("out/lines", file_bytes=1))
    assert len(parts(tmp_path)) == 3


def test_partitions_are_folders_that_any_tool_understands(tmp_path: Path) -> None:
    sink = Parquet("out/lines", mode="upsert", key=("id",), partition_by=("country", "month"))
    frame = pl.DataFrame({"country": ["DE", "FR", "DE", "DE"], "month": [1, 1, 2, 1], "id": [1, 2, 3, 4], "net": 1})
    put(tmp_path, "r1", frame, sink)
    out = tmp_path / "out/lines"
    folders = sorted(str(path.parent.relative_to(out)) for path in out.rglob("*.parquet"))
    assert folders == ["country=DE/month=1", "country=DE/month=2", "country=FR/month=1"]
    lazy = pl.scan_parquet(out, hive_partitioning=True)
    assert lazy.filter(country="DE", month=1).sort("id").collect()["id"].to_list() == [1, 4]
    assert lazy.collect_schema()["month"] == pl.Int64
    nodes = {path.relative_to(out): path.stat().st_ino for path in out.rglob("*.parquet")}

    put(tmp_path, "r2", frame[3:].with_columns(pl.lit("IT").alias("country"), net=pl.lit(2)).cast(frame.schema), sink)
    found = pl.read_parquet(out, hive_partitioning=True).sort("id")
    assert found.select("id", "country", "month", "net").rows() == [
        (1, "DE", 1, 1),
        (2, "FR", 1, 1),
        (3, "DE", 2, 1),
        (4, "IT", 1, 2),
    ]
    kept = {path.relative_to(out) for path in out.rglob("*.parquet") if path.stat().st_ino in nodes.values()}
    assert {str(path.parent) for path in kept} == {"country=DE/month=2", "country=FR/month=1"}


VALUES = [
    *("DE", "", None, "..", ".", "../..", "a/b", "/", "x=y", "a%2Fb", "%", "ä🙂", "new\nline", "\x00", " ", "a:b*?[1]"),
    *("~", "1", "true", "2024-01-01", "=", "-"),
]


def test_values_of_partitions_are_escaped_and_read_again(tmp_path: Path) -> None:
    sink = Parquet("out/lines", mode="append", partition_by="of")
    frame = pl.DataFrame({"of": VALUES, "id": range(len(VALUES))})
    put(tmp_path, "r1", frame, sink)
    put(tmp_path, "r2", frame, sink)
    assert read(tmp_path, sink).sort("id").equals(pl.concat([frame, frame]).sort("id"))
    by_folder = pl.scan_parquet(tmp_path / "out/lines", hive_partitioning=True).select("of", "id").collect()
    assert by_folder.sort("id").equals(pl.concat([frame, frame]).sort("id"))
    folders = [path for path in (tmp_path / "out/lines").iterdir() if path.is_dir()]
    assert len(folders) == len(VALUES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".assay", "out"]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, -128, None], dtype=pl.Int8),
        pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64),
        pl.Series([True, False, None]),
        pl.Series([date(1, 1, 1), date(9999, 12, 31), None]),
        pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a"])),
        pl.Series(["__HIVE_DEFAULT_PARTITION__", None, ""]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_partitions_of_every_kind_come_back_equal(tmp_path: Path, values: pl.Series) -> None:
    sink = Parquet("out/lines", partition_by="of")
    frame = pl.DataFrame({"of": values, "id": [1, 2, 3]})
    put(tmp_path, "r1", frame, sink)
    assert read(tmp_path, sink).sort("id").equals(frame)


def test_no_rows_have_a_partition_too(tmp_path: Path) -> None:
    sink = Parquet("out/lines", mode="append", partition_by="of")
    frame = pl.DataFrame({"of": ["a"], "id": [1]})
    put(tmp_path, "r1", frame[:0], sink)
    assert read(tmp_path, sink).equals(frame[:0])
    put(tmp_path, "r2", frame, sink)
    assert pl.read_parquet(tmp_path / "out/lines", hive_partitioning=True).select("of", "id").equals(frame)


def test_other_partitions_than_those_published_are_refused_where_rows_stay(tmp_path: Path) -> None:
    frame = pl.DataFrame({"of": ["a"], "id": [1]})
    put(tmp_path, "r1", frame, Parquet("out/lines", partition_by="of"))
    with pytest.raises(SinkError, match="partitioned by of, and now it is by nothing: a run that replaces"):
        put(tmp_path, "r2", frame, Parquet("out/lines", mode="append"))
    put(tmp_path, "r3", frame, Parquet("out/lines"))
    assert [path.parent.name for path in (tmp_path / "out/lines").rglob("*.parquet")] == ["lines"]


@pytest.mark.parametrize(
    ("column", "dtype", "words"),
    [
        ("off", pl.String(), r'no column "of"\. Did you mean "off"'),
        ("of", pl.Float64(), '"of" is Float64 and cannot name partitions'),
        ("of", pl.List(pl.String()), '"of" is List.* cannot name partitions'),
    ],
)
def test_a_column_that_cannot_name_partitions_is_named(
    tmp_path: Path, column: str, dtype: pl.DataType, words: str
) -> None:
    with pytest.raises(SinkError, match=f"output lines: .*{words}"):
        Parquet("out", partition_by="of").open(tmp_path, tmp_path / "s", "lines", default="").check(
            pl.Schema({column: dtype, "id": pl.Int64()})
        )


def test_a_name_of_a_column_that_a_folder_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r'column "\.\./x=y" cannot name partitions'):
        Parquet("out", partition_by="../x=y").open(tmp_path, tmp_path / "s", "lines", default="").check(
            pl.Schema({"../x=y": pl.String()})
        )


def test_a_value_too_long_for_a_folder_is_named_with_its_row(tmp_path: Path) -> None:
    sink = Parquet("out/lines", partition_by="of", part_rows=2)
    with pytest.raises(SinkError, match=r'column "of" has a value .*\(303 bytes of 255\), first in row 4'):
        put(tmp_path, "r1", pl.DataFrame({"of": ["a", "b", "a", "x" * 300, "x" * 300]}), sink)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"), [({"file_bytes": 0}, "file_bytes"), ({"partition_by": ("a", "a")}, "names a column twice")]
)
def test_files_and_partitions_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Parquet("out", **options)
