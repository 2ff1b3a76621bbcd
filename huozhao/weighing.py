"""Which weights the value of a home's pages is made with: the bundle's, or those that its policy says instead."""

from pathlib import Path

import msgspec

from features.errors import PolicyError
from ranking.bundles.bundle import Bundle
from ranking.policy import Policy, load
from ranking.value import Weights


def weighed_as(home: Path, bundle: Bundle) -> list[str]:
    """Sentences on which weights are served once a bundle is; where that is not its own, that they are not."""
    try:
        policy = load(home / "policy.toml")
    except PolicyError as error:
        return [f"Which weights are served is not known: {error}"]
    return [sentence(policy, bundle.weights), *_replaced(policy, bundle.weights)]


def sentence(policy: Policy, learned: Weights) -> str:
    """Whose weights feed is served with."""
    served = policy.weights_for("feed", learned)
    if served == learned:
        return f"Served weights are the bundle's: {_listed(learned)}."
    whose = "[weights]" if policy.weights else "[surfaces.feed] weights"
    return (
        f"The bundle's weights are not served: policy.toml has {whose}, which win: {_listed(served)}. The bundle has "
        f"{_listed(learned)}; its report judges the value by those. Take {whose} out of policy.toml to serve them."
    )


def _replaced(policy: Policy, learned: Weights) -> list[str]:
    """What other surfaces weigh otherwise than feed does."""
    feed, found = msgspec.structs.asdict(policy.weights_for("feed", learned)), []
    for name in policy.surfaces:
        own = msgspec.structs.asdict(policy.weights_for(name, learned))
        other = [f"{head} {weight:g}" for head, weight in own.items() if weight != feed[head]]
        if other:
            found.append(f"{name} by policy.toml: {', '.join(other)}")
    return [f"Otherwise on {'; on '.join(found)}."] if found else []


def _listed(weights: Weights) -> str:
    return ", ".join(f"{head} {weight:g}" for head, weight in msgspec.structs.asdict(weights).items() if weight)
