"""Keras weights in HDF5 files."""
