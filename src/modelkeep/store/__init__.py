"""A content-addressed store: one inode per distinct content, hashed, sealed, shared.

Knows nothing of Hugging Face. `store.Store` is the way in; `docs/format.md` is the format.
"""
