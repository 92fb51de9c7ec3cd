"""Whole tasks, from data to trained model: what the examples and `tinygrad-lstm train` share.

Models and numbers only; the tables and pictures of them are made in `report`.
"""
