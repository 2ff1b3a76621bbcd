"""Lists of rows that change in place, against a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.index.chains import CHUNK, Chains

LISTS, ROWS = 5, 900
steps_of = st.lists(st.tuples(st.sampled_from(["put", "put", "drop"]), st.integers(0, 400)), max_size=12)


@given(steps=steps_of, seed=st.integers(0, 1000), spread=st.integers(1, LISTS))
def test_each_list_holds_what_was_put_there_last(steps: list[tuple[str, int]], seed: int, spread: int) -> None:
    random, chains = np.random.default_rng(seed), Chains(LISTS, 2)
    kept: dict[int, int] = {}
    for what, size in steps:
        rows = random.integers(0, ROWS, size).astype(np.int32)
        if what == "put":
            lists = random.integers(0, spread, size)
            chains.put(rows, lists)
            chains.pool.codes[chains.slots(rows)] = np.stack([rows % 251, rows // 251], axis=1)
            kept |= dict(zip(rows.tolist(), lists.tolist(), strict=True))
        else:
            chains.drop(np.append(rows, np.int32(ROWS + size)))
            kept = {row: at for row, at in kept.items() if row not in set(rows.tolist())}
        filed, where = chains.filed()
        slots = chains.slots(np.append(filed, np.int32(ROWS + 500)))
        assert slots[-1] == -1
        # Whatever moved took its bytes along.
        assert chains.pool.codes[slots[:-1]].tolist() == np.stack([filed % 251, filed // 251], axis=1).tolist()
        assert dict(zip(filed.tolist(), where.tolist(), strict=True)) == kept
        assert chains.sizes.tolist() == [sum(at == one for one in kept.values()) for at in range(LISTS)]
        for some in ([0], [3, 1], [], list(range(LISTS))):
            chosen = np.array(some, np.int64)
            expected = {row for row, at in kept.items() if at in some}
            found = chains.of(chosen, None).tolist()
            assert (len(found), set(found)) == (len(expected), expected)
            mask = random.random(int(random.integers(0, ROWS + 9))) < 0.3
            under = {row for row in expected if row < len(mask) and mask[row]}
            assert sorted(chains.of(chosen, mask).tolist()) == sorted(under)


def test_chunks_that_lists_give_back_are_taken_again() -> None:
    chains, rows = Chains(2), np.arange(50 * CHUNK, dtype=np.int32)
    taken = []
    for turn in range(20):
        chains.put(rows, np.full(len(rows), turn % 2))
        taken.append(chains.nbytes)
    assert taken[-1] == taken[1]
