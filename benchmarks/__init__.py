"""The harness: what the project claims of its speed and its judgement, measured anew with one command.

``python -m benchmarks NAME... [--quick] [--json FILE]``. Every figure stands beside its peer in one run, interleaved;
ratios are what may be compared between machines. A wrong result fails the run, a slow one does not.
"""
