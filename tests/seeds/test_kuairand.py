"""KuaiRand-Pure: every trap of its files on a small folder, and the published rates on the real sample."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.checks import check
from features.errors import SourceError
from features.logs.archive import Archive
from features.logs.log import UNPLACED, merge
from features.outcomes import VIDEO, is_long_view
from features.records import Item, User, decode
from seeds import KuaiRand
from seeds import kuairand as module

Row = Mapping[str, object]
Write = Callable[[Path, Sequence[Row]], None]
BEGIN = 1_650_812_741_436
HOUR, DAY = 3_600_000, 86_400_000


def exposure(
    user: int = 1, video: int = 7, time_ms: int = BEGIN, play: float = 0, **fields: float
) -> dict[str, object]:
    flags = dict.fromkeys(("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"), 0)
    row: dict[str, object] = {"user_id": user, "video_id": video, "date": 20220425, "hourmin": 0, "time_ms": time_ms}
    row |= flags | {"play_time_ms": play, "duration_ms": 10_000, "profile_stay_time": 0, "comment_stay_time": 0}
    return row | {"is_profile_enter": 0, "is_rand": 0, "tab": 1} | fields


def user_row(user: int = 1, **fields: object) -> dict[str, object]:
    row: dict[str, object] = {"user_id": user, "user_active_degree": "full_active", "is_lowactive_period": 0}
    row |= {"is_live_streamer": -124, "is_video_author": 1}
    for name, value in (("follow_user_num", 5), ("fans_user_num", 0), ("friend_user_num", 0), ("register_days", 30)):
        row |= {name: value, f"{name}_range": "(0,10]"}
    row["register_days_range"] = row.pop("register_days_range")
    return row | {f"onehot_feat{i}": float(i) for i in range(18)} | fields


def video_row(video: int = 7, **fields: object) -> dict[str, object]:
    row: dict[str, object] = {"video_id": video, "author_id": 70, "video_type": "NORMAL", "upload_dt": "2022-04-10"}
    row |= {"upload_type": "Web", "visible_status": 0.0, "video_duration": 9_000.0, "server_width": 720.0}
    return row | {"server_height": 1280.0, "music_id": 1, "music_type": 9.0, "tag": "39,68"} | fields


def history_row(user: int, last_ms: int, watch: list[int], like: list[int], long: list[int]) -> dict[str, object]:
    return {
        "user_id": user,
        "history_len": len(watch),
        "last_time_ms": last_ms,
        "watch_seq": watch,
        "like_seq": like,
        "long_watch_seq": long,
    }


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    pacsv.write_csv(pa.Table.from_pylist([dict(row) for row in rows]), path.with_suffix(".csv"))


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path.with_suffix(".parquet"))


def events_of(source: KuaiRand) -> pa.Table:
    _, *tables = source.tables()
    return pa.concat_tables(tables)


def told(source: KuaiRand) -> list[tuple[str, str, str, int, int]]:
    """User, item, action, value and milliseconds since BEGIN of each event."""
    rows = events_of(source).to_pylist()
    return [(row["user_id"], row["item_id"], row["action"], row["value"], row["ts_ms"] - BEGIN) for row in rows]


def catalog_of(source: KuaiRand) -> tuple[dict[str, Item], dict[str, User]]:
    rows = next(source.tables()).to_pylist()
    records = [decode(row["payload"]) for row in rows]
    for row, record in zip(rows, records, strict=True):
        check(record, row["received_ms"])
    items = {record.item_id: record for record in records if isinstance(record, Item)}
    users = {record.user_id: record for record in records if isinstance(record, User)}
    assert len(items) + len(users) == len(records)
    return items, users


@pytest.fixture(params=[write_csv, write_parquet], ids=["csv", "parquet"])
def write(request: pytest.FixtureRequest) -> Write:
    chosen: Write = request.param
    return chosen


def test_an_exposure_becomes_its_impression_and_at_the_exit_its_watch_and_outcomes(
    tmp_path: Path, write: Write
) -> None:
    done = dict.fromkeys(("is_click", "is_like", "is_comment", "is_forward", "is_follow", "is_hate"), 1)
    write(tmp_path / "log_standard_4_22_to_5_08_pure", [exposure(712, 5, play=61_802, tab=4, **done)])
    table = events_of(KuaiRand(tmp_path))
    at_exit = ["watch", "click", "like", "comment", "share", "follow", "hide"]
    assert table["action"].to_pylist() == ["impression", *at_exit]
    assert table["ts_ms"].to_pylist() == [BEGIN] + [BEGIN + 61_802] * 7
    assert table["received_ms"].equals(table["ts_ms"])
    assert table["value"].to_pylist() == [0, 61_802] + [0] * 6
    assert set(table["surface"].to_pylist()) == {"tab4"}
    assert set(table["request_id"].to_pylist()) == {""}
    assert (table["user_id"][0].as_py(), table["item_id"][0].as_py()) == ("712", "5")
    assert table["event_id"][1].as_py() == f"712-5-{BEGIN}-watch"


def test_an_exposure_that_was_not_played_has_no_watch_and_follows_nothing(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "log", [exposure(is_click=1)])
    assert told(KuaiRand(tmp_path)) == [("1", "7", "impression", 0, 0), ("1", "7", "click", 0, 0)]


def test_all_logs_of_a_folder_are_read_as_one_in_time_order(tmp_path: Path) -> None:
    write_csv(tmp_path / "a_random", [exposure(1, time_ms=BEGIN + 50, is_rand=1), exposure(2, time_ms=BEGIN + 10)])
    write_parquet(tmp_path / "b_standard", [exposure(3, time_ms=BEGIN, play=30), exposure(4, time_ms=BEGIN + 20)])
    source = KuaiRand(tmp_path)
    assert [(user, action, at) for user, _, action, _, at in told(source)] == [
        ("3", "impression", 0),
        ("2", "impression", 10),
        ("4", "impression", 20),
        ("3", "watch", 30),
        ("1", "impression", 50),
    ]
    assert source.summary.files == ("a_random.csv", "b_standard.parquet")
    assert (source.summary.first_ms, source.summary.last_ms) == (BEGIN, BEGIN + 50)


def test_rows_that_repeat_an_exposure_are_one_exposure_with_all_that_was_done(tmp_path: Path, write: Write) -> None:
    rows = [exposure(play=4, is_click=1), exposure(play=9, is_like=1, hourmin=100), exposure(play=9, is_like=1)]
    write(tmp_path / "log", [*rows, exposure(time_ms=BEGIN + 100)])
    source = KuaiRand(tmp_path)
    assert [(action, value, at) for *_, action, value, at in told(source)] == [
        ("impression", 0, 0),
        ("watch", 9, 9),
        ("click", 0, 9),
        ("like", 0, 9),
        ("impression", 0, 100),
    ]
    assert (source.summary.exposures, source.summary.repeated) == (2, 2)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("play_time_ms", -1.0),
        ("play_time_ms", float("nan")),
        ("play_time_ms", float("inf")),
        ("play_time_ms", 2.0 * DAY),
        ("duration_ms", -5.0),
        ("duration_ms", None),
        ("user_id", -1),
        ("video_id", 0.5),
        ("time_ms", -1),
        ("time_ms", 1 << 60),
        ("is_click", None),
        ("tab", -1),
    ],
)
def test_a_row_that_cannot_be_true_is_dropped_and_counted(
    tmp_path: Path, write: Write, column: str, value: float | None
) -> None:
    write(tmp_path / "log", [exposure(1), exposure(2, time_ms=BEGIN + 5) | {column: value}])
    source = KuaiRand(tmp_path)
    assert (source.summary.exposures, source.summary.impossible) == (1, 1)
    assert told(source) == [("1", "7", "impression", 0, 0)]


@pytest.mark.parametrize("column", ["time_ms", "is_forward", "play_time_ms", "tab"])
def test_a_log_without_a_column_is_refused_by_file_and_column(tmp_path: Path, write: Write, column: str) -> None:
    write(tmp_path / "log_cut", [{name: value for name, value in exposure().items() if name != column}])
    with pytest.raises(SourceError, match=rf"log_cut.* has no column {column}"):
        KuaiRand(tmp_path)


@pytest.mark.parametrize(("row", "column"), [(user_row(), "onehot_feat7"), (video_row(), "upload_dt")])
def test_a_catalog_without_a_column_is_refused_by_file_and_column(
    tmp_path: Path, write: Write, row: Row, column: str
) -> None:
    write(tmp_path / "log", [exposure()])
    write(tmp_path / "features_cut", [{name: value for name, value in row.items() if name != column}])
    with pytest.raises(SourceError, match=rf"features_cut.* has no column {column}"):
        KuaiRand(tmp_path)


def test_a_folder_without_an_exposure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a folder"):
        KuaiRand(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="holds no exposure"):
        KuaiRand(tmp_path)
    write_csv(tmp_path / "log", [exposure(play=-1)])
    with pytest.raises(SourceError, match="holds no exposure"):
        KuaiRand(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 this is none", b"user_id,video_id\nx"])
@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    write_parquet(tmp_path / "good", [exposure()])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=name):
        KuaiRand(tmp_path)


def test_a_file_of_something_else_is_skipped_with_the_reason(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "log", [exposure()])
    write(tmp_path / "weather", [{"day": 1, "rain": 2}])
    assert [reason for _, reason in KuaiRand(tmp_path).summary.skipped] == [
        "it has the columns of no file of KuaiRand-Pure"
    ]


def test_words_in_place_of_numbers_are_refused_by_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "log", [exposure(), exposure() | {"play_time_ms": 12}])
    path = tmp_path / "log.csv"
    path.write_text(path.read_text().replace(",12,", ",twelve,"))
    with pytest.raises(SourceError, match=r"log\.csv cannot be read.*twelve"):
        KuaiRand(tmp_path)


def test_statistics_of_the_whole_period_are_never_read(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "log", [exposure()])
    write(tmp_path / "video_features_statistic_pure", [{"video_id": 7, "counts": 9, "show_cnt": 1e9}])
    write(tmp_path / "renamed", [{"video_id": 7, "show_cnt": 1e9, "play_cnt": 3}])
    source = KuaiRand(tmp_path)
    reasons = dict(source.summary.skipped)
    assert {name.partition(".")[0] for name in reasons} == {"video_features_statistic_pure", "renamed"}
    assert all("future" in reason for reason in reasons.values())
    assert catalog_of(source)[0]["7"].attributes == {}


def test_a_video_has_what_was_known_at_its_upload(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "log", [exposure(video=7), exposure(video=7, time_ms=BEGIN + 9)])
    unknown = video_row(8, video_type="UNKNOWN", video_duration=None, music_type=None, tag=None, upload_dt="some day")
    write(tmp_path / "video_features_basic_pure", [video_row(7), unknown])
    items, _ = catalog_of(KuaiRand(tmp_path))
    assert items["7"] == Item(
        item_id="7",
        ts_ms=BEGIN,
        kind=items["7"].kind,
        author_id="70",
        category="39",
        duration_ms=9_000,
        live_from_ms=1_649_520_000_000,  # 2022-04-09 16:00 UTC is midnight in Shanghai
        attributes={"video_type": "NORMAL", "upload_type": "Web", "tag": "39,68", "music_type": "9", "aspect": 16 / 9},
    )
    assert items["7"].kind == "video"
    assert items["8"].attributes == {"upload_type": "Web", "aspect": 16 / 9}
    assert (items["8"].category, items["8"].duration_ms, items["8"].live_from_ms) == ("", 0, 0)


def test_a_video_without_features_is_described_by_the_log(tmp_path: Path, write: Write) -> None:
    durations = [0, 0, 0, 5_000, 6_000, 6_000]
    rows = [exposure(video=9, time_ms=BEGIN + i, duration_ms=each) for i, each in enumerate(durations)]
    write(tmp_path / "log", [row | {"author_id": 44} for row in rows])
    write(tmp_path / "other_log", [exposure(video=3)])
    source = KuaiRand(tmp_path)
    items, _ = catalog_of(source)
    assert (items["9"].author_id, items["9"].duration_ms) == ("44", 6_000)
    assert (items["3"].author_id, items["3"].duration_ms) == ("", 10_000)
    assert source.summary.untimed == 3


def test_a_user_keeps_what_is_known_and_nothing_that_is_not(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "log", [exposure()])
    row = user_row(1, user_active_degree="UNKNOWN", follow_user_num=-124, onehot_feat4=None, onehot_feat3=1470)
    write(tmp_path / "user_features_pure", [row])
    user = catalog_of(KuaiRand(tmp_path))[1]["1"]
    assert user.attributes.keys().isdisjoint({"user_active_degree", "follow_user_num", "onehot_feat4"})
    assert "is_live_streamer" not in user.attributes
    assert user.attributes["onehot_feat3"] == "1470"
    assert user.attributes["onehot_feat17"] == "17"
    assert user.attributes["fans_user_num"] == 0.0
    assert user.attributes["fans_user_num_range"] == "(0,10]"
    # The log begins on 24 April in UTC, and in Shanghai too.
    assert user.registered_ms == 1_650_729_600_000 - 30 * DAY
    assert user.ts_ms == BEGIN


def test_history_is_what_was_liked_or_watched_long_oldest_first(tmp_path: Path) -> None:
    write_csv(tmp_path / "log", [exposure(1, time_ms=BEGIN), exposure(2, time_ms=BEGIN + HOUR)])
    rows = [
        history_row(1, BEGIN - 9, watch=[4, 5, 6, 4, 8], like=[90, 6], long=[80, 90, 4, 5, 4]),
        history_row(2, BEGIN + 9, watch=[5], like=[], long=[5]),
        history_row(3, BEGIN + DAY, watch=[5], like=[], long=[]),
    ]
    write_parquet(tmp_path / "history", rows)
    _, users = catalog_of(KuaiRand(tmp_path))
    assert users["1"].history == ("80", "90", "5", "6", "4")
    assert users["1"].ts_ms == BEGIN - 9
    assert (users["2"].history, users["2"].ts_ms) == (("5",), BEGIN)
    assert users["3"].history == ()


@pytest.mark.parametrize("last_ms", [BEGIN, BEGIN + 1])
def test_a_history_that_reaches_into_the_log_is_dropped(tmp_path: Path, last_ms: int) -> None:
    write_parquet(tmp_path / "log", [exposure(1), exposure(2, time_ms=BEGIN - 5)])
    write_parquet(tmp_path / "users", [user_row(1)])
    write_parquet(tmp_path / "history", [history_row(1, last_ms, [5], [5], [5])])
    source = KuaiRand(tmp_path)
    assert source.summary.histories_dropped == 1
    assert catalog_of(source)[1]["1"].history == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 40), st.integers(0, 60), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 30),
)
def test_the_log_does_not_depend_on_files_rows_or_tables(
    tmp_path_factory: pytest.TempPathFactory, raw: list[tuple[int, int, int, int, bool]], cut: int
) -> None:
    rows = [exposure(user, video, BEGIN + at, play, is_like=liked) for user, video, at, play, liked in raw]
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    write_parquet(one / "log", rows)
    write_parquet(two / "z", rows[:cut])
    if rows[cut:]:
        write_parquet(two / "a", rows[cut:][::-1])
    whole = events_of(KuaiRand(one))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_ROWS", 3)
        catalog, *tables = KuaiRand(two).tables()
        assert len(tables) == -(-len({row[:3] for row in raw}) // 3)
    assert pa.concat_tables(tables).equals(whole)
    assert whole.equals(merge([whole]))
    assert catalog["received_ms"].to_pylist() == [whole["ts_ms"][0].as_py()] * len(catalog)
    assert len(set(whole["event_id"].to_pylist())) == len(whole)


def test_progress_ends_at_all_exposures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 2)
    write_csv(tmp_path / "log", [exposure(time_ms=BEGIN + i) for i in range(5)])
    steps: list[tuple[int, int]] = []
    for _ in KuaiRand(tmp_path).tables(lambda done, of: steps.append((done, of))):
        pass
    assert steps == [(2, 5), (4, 5), (5, 5)]


@pytest.fixture(scope="module")
def sample(kuairand: Path) -> KuaiRand:
    return KuaiRand(kuairand)


@pytest.fixture(scope="module")
def events(sample: KuaiRand) -> pa.Table:
    return events_of(sample)


def test_the_sample_has_its_published_counts(sample: KuaiRand) -> None:
    summary = sample.summary
    assert summary.exposures + summary.repeated == 92_220
    assert (summary.users, summary.items, summary.impossible, summary.skipped) == (27_285, 7_583, 0, ())
    assert len(summary.files) == 4
    assert summary.untimed / summary.exposures == pytest.approx(0.018, abs=0.003)


def test_the_sample_has_its_published_rates(sample: KuaiRand, events: pa.Table) -> None:
    counts = Counter(events["action"].to_pylist())
    assert counts["impression"] == sample.summary.exposures
    rates = {action: count / counts["impression"] for action, count in counts.items()}
    published = {"click": 0.447, "like": 0.0174, "comment": 0.0024, "share": 0.0008, "follow": 0.0014, "hide": 0.0007}
    for action, rate in published.items():
        assert rates[action] == pytest.approx(rate, abs=max(0.01 * rate, 1e-4)), action


def test_the_long_view_we_derive_is_the_one_the_data_set_has(
    kuairand: Path, sample: KuaiRand, events: pa.Table
) -> None:
    items, _ = catalog_of(sample)
    duration = {name: item.duration_ms for name, item in items.items()}
    watched = (
        row for row in events.select(["event_id", "item_id", "action", "value"]).to_pylist() if row["action"] == "watch"
    )
    long = {
        row["event_id"].removesuffix("-watch")
        for row in watched
        if is_long_view(VIDEO, duration[row["item_id"]], row["value"])
    }
    columns = ["user_id", "video_id", "time_ms", "long_view"]
    log = pq.read_table(kuairand / "dev_to_0430.parquet", columns=columns).to_pylist()
    label = {"{user_id}-{video_id}-{time_ms}".format(**row): row["long_view"] == 1 for row in log}
    assert len(label) == sample.summary.exposures
    assert np.mean([label[name] == (name in long) for name in label]) > 0.995
    assert len(long) / len(label) == pytest.approx(0.314, abs=0.005)


def test_the_sample_is_in_time_order_and_no_outcome_comes_before_its_exit(events: pa.Table) -> None:
    received = events["received_ms"].to_numpy()
    assert (np.diff(received) >= 0).all()
    names = pc.replace_substring_regex(events["event_id"], "-[a-z]+$", "")
    position = {name: row for row, name in reversed(list(enumerate(names.to_pylist())))}
    first = np.array([position[name] for name in names.to_pylist()])
    actions = np.array(events["action"].to_pylist())
    assert (actions[first] == "impression").all()
    played = dict(zip(first[actions == "watch"], events["value"].to_numpy()[actions == "watch"], strict=True))
    exits = received[first] + np.array([played.get(row, 0) for row in first])
    assert (received == np.where(actions == "impression", received[first], exits)).all()


def test_the_sample_goes_into_an_archive_as_it_comes(sample: KuaiRand, tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    rows = 0
    for table in sample.tables():
        assert table.schema.equals(UNPLACED)
        archive.extend(table)
        rows += len(table)
    assert archive.end() == rows
    items, users = catalog_of(sample)
    assert (len(items), len(users)) == (sample.summary.items, sample.summary.users)
    assert sum(bool(user.history) for user in users.values()) > 20_000
    assert all(item.author_id for item in items.values())
