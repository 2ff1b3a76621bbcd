"""What is served next, while pages go out.

``handover`` lets a bundle or a policy take the place of another; ``successor`` makes its generation beside the one
that is served; ``shadow`` asks a second bundle what it would have said.
"""
