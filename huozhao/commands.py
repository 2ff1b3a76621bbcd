"""What the commands do: each joins parts of the other packages and says what came of it."""

import os
from pathlib import Path

import msgspec

from features.errors import RequestError
from huozhao import home as homes
from huozhao import show
from huozhao.stages import Stages
from huozhao.table import write_table
from huozhao.times import iso, moment_ms, now_of, optional_ms
from ranking.bundle import current, load
from ranking.sources import PERSONAL_NAMES
from ranking.types import Feed, FeedRequest
from seeds.constants import Size
from seeds.kuairand import KuaiRand
from seeds.world import World
from serving import Settings
from serving import serve as serve_home
from training import evaluate as judge
from training import to_json
from training import train as train_bundle


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
    """A world of so many people; there is so much of everything else as in the standard one."""
    whole = Size.standard()
    if not 10 <= users <= 1_000_000 or not 1 <= days <= 60:
        raise RequestError(f"A world of {users} users and {days} days cannot be made.", "10 to 10^6, and 1 to 60.")
    hosts, videos, products = (max(n * users // whole.users, 20) for n in (whole.hosts, whole.videos, whole.products))
    return Size(users=users, hosts=hosts, videos=videos, products=products, days=days)


def simulate(home: Path, *, users: int, days: int, seed: int, start: str) -> None:
    """Write the log of a simulated world into a home."""
    homes.refuse_full(home)
    world = World.create(seed, size_of(users, days), moment_ms("--start", start))
    with Stages() as stages:
        records = homes.fill(home, world.log(progress=stages.of("living through the days")))
    print(f"{home}: {records:,} records from {iso(world.start_ms)} to {iso(world.end_ms)}.")


def replay(home: Path, out: Path, *, since: str | None, until: str | None, seed: int) -> None:
    """Write the training table of a home's log."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    _refuse_lost(out)
    with homes.open_log(home) as log, Stages() as stages:
        rows, columns = write_table(log, out, since_ms=since_ms, until_ms=until_ms, seed=seed, progress=stages)
    print(f"{out}: {rows:,} impressions, {columns} columns.")


def train(home: Path, *, since: str | None, until: str | None, seed: int) -> None:
    """Train a bundle and make it the current one."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    with homes.open_log(home) as log, Stages() as stages:
        result = train_bundle(log, home / "bundles", since_ms=since_ms, until_ms=until_ms, seed=seed, progress=stages)
    show.console().print(show.trained_table(result))
    print(f"Bundle {result.version} is current in {home}.")


def evaluate(home: Path, *, since: str | None, until: str | None, baselines: bool, json: Path | None) -> None:
    """Judge the current bundle on what came after its training."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    if json is not None:
        _refuse_lost(json)
    with homes.open_log(home) as log, Stages() as stages:
        bundle = load(current(home / "bundles"))
        rows = judge(log, bundle, since_ms=since_ms, until_ms=until_ms, baselines=baselines, progress=stages)
    if json is not None:
        json.write_bytes(to_json(rows))
    show.console().print(show.figures_table(rows))


def serve(home: Path, *, host: str | None, port: int | None, allow_remote: bool | None) -> None:
    """Serve a home until stopped."""
    given = {"home": str(home), "host": host, "port": port, "allow_remote": allow_remote}
    settings = Settings.read(os.environ, given)
    serve_home(settings, lambda address: print(f"Serving {home} at {address} (contract: {address}/schema)", flush=True))


def feed(home: Path, user: str, *, json: bool, count: int, surface: str, now: str | None) -> None:
    """Print one person's page."""
    asked = {"user_id": user, "count": count, "surface": surface}
    try:
        request = msgspec.convert(asked, FeedRequest)
    except msgspec.ValidationError as error:
        raise RequestError(f"No page can be asked for like this: {error}.", "See huozhao feed --help.") from error
    with homes.open_reader(home) as engine:
        now_ms = moment_ms("--now", now) if now else now_of(engine.status(0).received_ms)
        page = engine.feed(request, now_ms, f"feed-{now_ms}")
    if json:
        print(msgspec.json.format(msgspec.json.encode(page)).decode())
    else:
        show.console().print(show.feed_table(page, note_of(page)))


def _refuse_lost(file: Path) -> None:
    """Refuse to work for a file that could not be written in the end."""
    if not file.absolute().parent.is_dir():
        raise RequestError(f"{file}: there is no folder {file.parent}.", "Make it first, or name another file.")


def note_of(page: Feed) -> str:
    """What to say of a page that no taste went into."""
    if any(item.source in PERSONAL_NAMES.values() for item in page.items):
        return ""
    return f"Nothing is known of user {page.user_id!r} that may be used: this is what is popular and new."
