import pickle
from pathlib import Path

import pytest
from tests.conftest import ROOT

import assay
from assay import errors
from assay.result import Err, Ok
from assay.settings import Settings


def test_every_public_name_is_there_and_sorted() -> None:
    assert assay.__all__ == sorted(assay.__all__)
    for name in assay.__all__:
        assert getattr(assay, name) is not None
    assert set(dir(assay)) >= set(assay.__all__)
    # Names that models of users have: `from assay import *` must not hide them.
    assert not {"Item", "Order"} & set(assay.__all__)
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        assay.scann  # noqa: B018


ERRORS = [
    errors.ConfigurationError("m", where="f: k"),
    errors.UnknownNameError("sink", "a", ["b"]),
    errors.UnknownFormatError("a", ["b"]),
    errors.SourceError("m", file="f", offset=1, record=2),
    errors.ValidationError("m", source="s", record=1, line=2, errors=[{"type": "x"}]),
    errors.TooManyRejectsError("m", source="s", record=1, line=2, errors=[{"type": "x"}]),
    errors.NotFoundError("run", 1),
    errors.DuplicateError("run", 1),
    errors.SinkError("m", sink="s"),
    errors.RunFailed("m", run="r"),
    errors.LedgerError("m"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_errors_cross_processes_with_their_fields(error: errors.AssayError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_near_names_have_a_cutoff() -> None:
    assert errors.nearest("ordrs", ["orders", "usage"]) == "orders"
    assert errors.nearest("ORDERS", ["orders"]) == "orders"
    assert errors.nearest("rowz", ["arrow_scan"]) is None
    assert errors.unknown_name("x", "a", []) == 'no x "a". Known: none'


def test_results_are_told_apart_by_match() -> None:
    def word(outcome: Ok[int] | Err[str]) -> str:
        match outcome:
            case Ok(value):
                return f"ok {value}"
            case Err(error):
                return f"err {error}"

    assert [word(Ok(1)), word(Err("e"))] == ["ok 1", "err e"]


def test_settings_by_environment_then_dotenv_then_toml(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "assay.toml").write_text(
        'batch_records = 1\nmax_record_errors = 1\nmax_error_input = 1\npipelines = "p"\n'
    )
    (project / ".env").write_text("ASSAY_BATCH_RECORDS=2\nASSAY_MAX_RECORD_ERRORS=2\nOTHER=x\n")
    monkeypatch.setenv("ASSAY_BATCH_RECORDS", "3")
    monkeypatch.setenv("ASSAY_SOMETHING_ELSE", "of another tool")
    settings = Settings.load()
    assert (settings.batch_records, settings.max_record_errors, settings.max_error_input) == (3, 2, 1)
    assert settings.pipelines_folder == (project / "p").resolve()
    assert settings.run_store_url == f"sqlite:///{project.resolve()}/.assay/runs.db"
    assert Settings.load(batch_records=4).batch_records == 4
    below = project / "pipelines"
    monkeypatch.chdir(below)
    assert Settings.load().project == project.resolve()


def test_a_variable_that_is_nearly_a_setting_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_API_TOKEN", "ASSAY_TEST_URL", "ASSAY_BENCH_SCALE"):
        monkeypatch.setenv(name, "1")
    Settings.load()
    monkeypatch.setenv("ASSAY_REJECT_DAYS", "90")
    with pytest.warns(UserWarning, match="ASSAY_REJECT_DAYS is no setting; did you mean ASSAY_REJECTS_DAYS?"):
        assert Settings.load().rejects_days is None


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (
            "assay.toml",
            "batch_recordz = 1",
            'assay.toml: unknown setting "batch_recordz". Did you mean "batch_records"',
        ),
        ("assay.toml", 'batch_records = "x"', "assay.toml: batch_records: .*valid integer.*'x'"),
        ("assay.toml", "batch_records = 0", "assay.toml: batch_records: .*greater than 0"),
        ("assay.toml", "a = 1\nbatch_records = \n", "assay.toml: .*line 2"),
        (".env", "ASSAY_BATCH_RECORDZ=1", 'env: unknown setting "batch_recordz"'),
    ],
)
def test_wrong_settings_name_file_and_key(project: Path, file: str, text: str, words: str) -> None:
    (project / file).write_text(text)
    with pytest.raises(errors.ConfigurationError, match=words):
        Settings.load()


def test_the_run_store_is_not_shown(project: Path) -> None:
    settings = Settings.load(run_store="postgresql://user:canary@host/db")
    assert "canary" not in repr(settings)


def test_no_place_of_this_workplace_is_named() -> None:
    words = ("/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/")
    for folder in ("src", "pipelines", "docs", "sample_data", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".json", "") and path.is_file():
                text = path.read_text("utf-8", "replace")
                assert not [word for word in words if word in text], path
