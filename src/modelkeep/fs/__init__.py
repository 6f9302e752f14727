"""What a file system can do, and how to use it so that a crash or a second writer does no harm.

The only package that looks at `errno`. It knows nothing of blobs or of Hugging Face.
"""
