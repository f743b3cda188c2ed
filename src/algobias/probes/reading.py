"""What a probe returns, for those who write one; the values stand in :mod:`algobias.answer.measured`."""

from algobias.answer.measured.reading import Cost, Interval, Reading, Status, Twin, Unavailable

__all__ = ["Cost", "Interval", "Reading", "Status", "Twin", "Unavailable"]
