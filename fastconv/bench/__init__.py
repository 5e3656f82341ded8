"""The benchmark: networks' layers as data, peers, timing in turns, and the job that joins them.

Importing this package imports neither Numba nor any peer.
"""
