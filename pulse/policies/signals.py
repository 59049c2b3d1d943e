"""What the policies say to the rest of the house, and to hosts."""

from django.dispatch import Signal

#: Policy rows were changed by a bulk operation, which sends no ``post_save``.
#: Arguments: ``sender`` (the model), ``using`` (the database alias).
policies_changed = Signal()

#: A revision was committed and announced. Arguments: ``sender`` (PolicyRevision), ``number``.
revision_published = Signal()

#: A draft was saved and not yet committed, as ``PUBLISH`` is ``manual``: a receiver that raises
#: undoes the edit. Arguments: ``sender`` (PolicyState), ``edit``, ``changes`` (of this edit alone),
#: ``using``.
draft_saved = Signal()

#: A revision is inserted and not yet committed: a receiver that raises undoes the edit.
#: Arguments: ``sender`` (PolicyRevision), ``revision``, ``edit`` (publisher's), ``using``.
revision_made = Signal()

#: A guard has rolled its revision back, and that is committed. Arguments: ``sender``
#: (PolicyGuard), ``guard``, ``revision`` (the number of the guarded one), ``undone_by`` (the
#: number of the revision that undid it).
guard_rolled_back = Signal()
