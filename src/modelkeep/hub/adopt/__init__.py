"""Takes caches that exist into the keep, by sharing or by merging, and gives them back.

`places` finds the cache that is meant, `inventory` reads it, `plan` decides; `share` and `merge`
act, by the `steps` they have in common, each thing after `journal` has noted it, a file at a time
through `sharer`; `undo` goes back by what was noted.
"""
