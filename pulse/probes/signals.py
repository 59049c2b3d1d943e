"""What others may listen to."""

from django.dispatch import Signal

#: A target's confirmed status changed; not sent where that is in shadow. Sent after commit, in the
#: worker's process, each receiver by itself; the row stays, so who must miss none, or takes longer
#: than a moment, reads ``ProbeTransition``: results wait meanwhile.
#: Arguments: ``transition`` (ProbeTransition).
probe_transition = Signal()
