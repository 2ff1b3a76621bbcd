"""The face of Huozhao: the command line, and nothing that another package would import.

``cli`` declares the commands and turns every error into one line; ``commands`` does what they say; ``demo`` builds a
world that lives now and serves it; ``table`` writes the training table; ``show`` makes tables to read; ``stages`` tells
how far it is. Here the home is chosen and the clock read.
"""
