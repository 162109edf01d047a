"""Measures of frozen features, reconstructions and classifiers."""

from .accuracy import Accuracy

__all__ = ['Accuracy']
