"""``huozhao simulate --policy``: policies live through the same days of the same worlds, told side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from features.errors import RequestError
from huozhao.stages import Stages
from huozhao.tale import side_by_side, write_pictures, write_tale
from ranking.policy import DEFAULT_TOML, load
from seeds.constants import Size
from seeds.world import World
from training.loops.trial import Arm, Lived
from training.loops.trials import Worlds, run

WARM_DAYS = 3
"""Days of the world's own log, before the policies begin."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, with how many people and in how many worlds policies are tried, and how often they are trained anew."""

    days: int
    users: int
    seeds: int
    every: int

    def __post_init__(self) -> None:
        for name, least, most in (("days", 1, 60), ("users", 10, 100_000), ("seeds", 1, 50), ("every", 0, 60)):
            if not least <= (given := getattr(self, name)) <= most:
                name = "retrain" if name == "every" else name
                raise RequestError(f"--{name}: {given} is not of {least} to {most}.", "See huozhao simulate --help.")

    @property
    def size(self) -> Size:
        """A world in which every person sees many pages, so that there is something to learn of each."""
        hosts = max(30, self.users // 5)
        videos, products = max(250, 5 * self.users), max(80, 2 * self.users)
        return Size(self.users, hosts, videos, products, WARM_DAYS + self.days, pages_per_day=8)


def simulate(policies: Sequence[str], out: Path, plan: Plan) -> None:
    """Try policies side by side, and write what became of them into a folder."""
    arms = [_arm(policy, plan.every) for policy in policies]
    if len({arm.name for arm in arms}) < len(arms):
        raise RequestError("Two policies have one name.", "Name their files differently.")
    out.mkdir(parents=True, exist_ok=True)
    with Stages() as stages:
        lived = run(arms, Worlds(partial(_world, plan.size), plan.seeds, WARM_DAYS), stages)
    (out / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(_figures(lived))))
    page = write_tale(out, lived, plan.days, plan.users)
    drawn = write_pictures(out, lived)
    print(side_by_side(lived))
    print(f"{page}: {len(arms)} policies, {plan.days} days, {plan.seeds} worlds of {plan.users} people.")
    print(f"  {drawn}")


def _arm(policy: str, every: int) -> Arm:
    if policy == "default":
        return Arm(policy, DEFAULT_TOML, every)
    path = Path(policy)
    if not path.is_file():
        raise RequestError(f"--policy: there is no file {policy!r}.", "Name a TOML file, or `default`.")
    load(path)
    return Arm(path.stem, path.read_text("utf-8"), every)


def _world(size: Size, seed: int) -> World:
    return World.create(seed, size)


def _figures(lived: dict[str, list[Lived]]) -> list[dict[str, object]]:
    return [
        {
            "policy": name,
            "seed": seed,
            "pages": one.pages,
            "discovery": one.discovery,
            "by_day": {figure: values.tolist() for figure, values in one.figures.items()},
            "by_person": one.people,
        }
        for name, some in lived.items()
        for seed, one in enumerate(some)
    ]
