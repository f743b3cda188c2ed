"""Probes: which coordinate of the bias moved, with an interval, at a stated cost, the model untouched."""

from algobias.probes.base import Card, Probe
from algobias.probes.measure import measure
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject, Training

__all__ = ["Card", "Interval", "Probe", "Reading", "Subject", "Training", "Unavailable", "measure"]
