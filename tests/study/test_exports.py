"""A finished study is sent to trackers: what arrives, and that sending again changes nothing."""

from __future__ import annotations
