"""What the commands do: each joins parts of the other packages and says what came of it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from features.errors import RequestError
from huozhao import home as homes
from huozhao import show, standings
from huozhao.stages import Stages, patiently
from huozhao.table import write_table
from huozhao.times import iso, local_day_ms, moment_ms, now_of, optional_ms, wall_ms
from ranking.api import Feed, FeedRequest
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.candidates.sources import PERSONAL_NAMES
from ranking.policy import DEFAULT_TOML
from ranking.policy import load as load_policy
from seeds.constants import DAY_MS, Size
from seeds.kuairand import KuaiRand
from seeds.world import World
from serving import Settings
from serving import serve as serve_home
from serving.settings import in_words
from training import evaluate as judge
from training import evaluate_retrieval as judge_retrieval
from training import rolling as judge_rolling
from training import to_json
from training.baselines.systems import BASELINES
from training.loops.exposure import FIGURES as SHOWN
from training.loops.exposure import exposure_of

LEAST = 20
_PRODUCTS = '    { of = "product", at_most = 3, window = 10 },\n'
LIVE_TOML = (
    "# The default policy but for room_ttl and a bound on videos: this world ended when it was made, so its rooms\n"
    "# stay on for a while although no pulse comes; and every page of the feed has place for all kinds.\n"
    + DEFAULT_TOML.replace('room_ttl = "3m" ', 'room_ttl = "2h" ').replace(
        _PRODUCTS, _PRODUCTS + '    { of = "video", at_most = 3, window = 5 },\n'
    )
)
"""The policy of a simulated home that ends now."""


def import_kuairand(home: Path, folder: Path) -> None:
    """Make a home of the files of KuaiRand-Pure."""
    homes.refuse_full(home)
    with Stages() as stages:
        stages("reading files", 0, 0)
        source = KuaiRand(folder)
        records = homes.fill(home, source.tables(stages.of("writing the log")))
    found = source.summary
    print(f"{home}: {records:,} records of {found.users:,} users and {found.items:,} videos,")
    print(f"  {found.exposures:,} exposures from {iso(found.first_ms)} to {iso(found.last_ms)}.")
    print(f"  Merged {found.repeated} repeated rows, dropped {found.impossible} impossible ones and ", end="")
    print(f"{found.histories_dropped} histories that reach into the log.")
    for name, reason in found.skipped:
        print(f"  Not read: {name}, {reason}")


def size_of(users: int, days: int) -> Size:
    """A world of so many people; videos and products in proportion, and hosts enough that rooms are on at night."""
    whole = Size.standard()
    for name, given, least, most in (("users", users, 10, 1_000_000), ("days", days, 1, 60)):
        if not least <= given <= most:
            raise RequestError(f"--{name}: {given} is not of {least} to {most}.", "See huozhao simulate --help.")
    hosts, videos, products = (n * users // whole.users for n in (whole.hosts, whole.videos, whole.products))
    return Size(users, max(hosts, whole.hosts), max(videos, LEAST), max(products, LEAST), days)


def simulate(home: Path, *, users: int, days: int, seed: int, start: str | None) -> None:
    """Write the log of a simulated world into a home, as far as it has come by now."""
    homes.refuse_full(home)
    size, now_ms = size_of(users, days), wall_ms()
    start_ms = local_day_ms(now_ms) - (days - 1) * DAY_MS if start is None else moment_ms("--start", start)
    if start_ms >= now_ms:
        raise RequestError(f"--start: {start!r} is not over: a log holds nothing of the future.", "Name a day before.")
    world = World.create(seed, size, start_ms)
    end_ms = min(world.end_ms, now_ms)
    with Stages() as stages:
        tables = world.log(end_ms, stages.of("living through the days"))
        records = homes.fill(home, tables, LIVE_TOML if end_ms == now_ms else DEFAULT_TOML)
    print(f"{home}: {records:,} records from {iso(start_ms)} to {iso(end_ms)}.")


def replay(home: Path, out: Path, *, since: str | None, until: str | None, seed: int) -> None:
    """Write the training table of a home's log."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    _refuse_lost(out)
    with homes.open_log(home) as log, Stages() as stages:
        rows, columns = write_table(log, out, since_ms=since_ms, until_ms=until_ms, seed=seed, progress=stages)
    print(f"{out}: {rows:,} impressions, {columns} columns.")


def evaluate(
    home: Path,
    *,
    since: str | None,
    until: str | None,
    baselines: bool,
    rolling: int | None,
    retrieval: bool,
    json: Path | None,
) -> None:
    """Judge the current bundle or its sources on what came after its training, or training itself."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise RequestError("--since is not before --until: nothing lies between.", "Choose an earlier --since.")
    if rolling is not None and (since_ms is not None or until_ms is not None):
        raise RequestError("--rolling judges the log's last days.", "Leave out --since and --until.")
    if retrieval and (baselines or rolling is not None):
        raise RequestError("--retrieval has peers of its own.", "Leave out --baselines and --rolling.")
    if json is not None:
        _refuse_lost(json)
    with homes.open_log(home) as log, Stages() as stages:
        if rolling is not None:
            rows = judge_rolling(log, rolling, keep=home / "rolling", progress=stages)
        elif retrieval:
            bundle, policy = load(current(home / "bundles")), load_policy(home / "policy.toml")
            rows = judge_retrieval(log, bundle, policy, since_ms=since_ms, until_ms=until_ms, progress=stages)
        else:
            bundle = load(current(home / "bundles"))
            beside = BASELINES if baselines else ()
            rows = judge(log, bundle, since_ms=since_ms, until_ms=until_ms, baselines=beside, progress=stages)
    if json is not None:
        json.write_bytes(to_json(rows))
    if retrieval:
        show.console().print(standings.retrieval(rows))
        return
    show.console().print(show.figures_table(rows))
    if baselines or rolling is not None:
        parts = (standings.standings(rows), standings.cold(rows), standings.calibration(rows))
        show.console().print(*(part for one in parts for part in ("", one)), sep="\n")


def shown(home: Path, *, since: str | None, until: str | None, json: bool) -> None:
    """Print whom a home's pages showed."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    with homes.open_log(home) as log, patiently("reading the log"):
        found = exposure_of(log, since_ms, until_ms)
    figures = found._asdict()
    if json:
        print(msgspec.json.encode(figures).decode())
        return
    print(f"{found.slots:,} slots of {home}:")
    for name, words in SHOWN.items():
        print(f"  {figures[name]:.3f}  {words}" if figures[name] == figures[name] else f"      –  {words}")


def serve(home: Path, given: Mapping[str, str | float | bool | None]) -> None:
    """Serve a home until stopped; what is given wins over the environment."""
    settings = Settings.read(os.environ, {**given, "home": str(home)})
    settings.check()
    homes.refuse_missing(home)
    with ExitStack() as waiting:
        waiting.enter_context(patiently(homes.opening()))

        def announce(address: str) -> None:
            waiting.close()
            print(f"Serving {home} at {address} (contract: {address}/schema)", flush=True)

        serve_home(settings, announce)


def feed(home: Path, user: str, *, json: bool, count: int, surface: str, now: str | None) -> None:
    """Print one person's page."""
    asked = {"user_id": user, "count": count, "surface": surface}
    try:
        request = msgspec.convert(asked, FeedRequest)
    except msgspec.ValidationError as error:
        raise RequestError(f"{in_words(error)}.", "See huozhao feed --help.") from error
    with homes.open_reader(home) as engine:
        now_ms = moment_ms("--now", now) if now else now_of(engine.status(0).received_ms)
        page = engine.feed(request, now_ms, f"feed-{now_ms}")
    if json:
        print(msgspec.json.format(msgspec.json.encode(page)).decode())
    else:
        show.console().print(show.feed_table(page, note_of(page)))


def _refuse_lost(file: Path) -> None:
    """Refuse to work for a file that could not be written in the end."""
    folder = file.absolute().parent
    if file.is_dir():
        raise RequestError(f"{file} is a folder.", "Name a file in it.")
    if not folder.is_dir():
        raise RequestError(f"{file}: there is no folder {file.parent}.", "Make it first, or name another file.")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise RequestError(f"{file} cannot be written.", "Name another file.")


def note_of(page: Feed) -> str:
    """What to say of a page that no taste went into."""
    if any(item.source in PERSONAL_NAMES.values() for item in page.items):
        return ""
    return f"Nothing is known of user {page.user_id!r} that may be used: this is what is popular and new."
