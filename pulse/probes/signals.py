"""What others may listen to."""

from django.dispatch import Signal

#: A target's confirmed status changed. Sent after commit, in the worker's process, each receiver
#: by itself; the row stays, so who must miss none reads ``ProbeTransition``.
#: Arguments: ``transition`` (ProbeTransition).
probe_transition = Signal()
