"""Placeholder docstring, filled by the first module."""
