"""Avatars as data: recipes, their builder, the library that serves them, and the rig tables."""
