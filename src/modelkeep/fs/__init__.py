"""What a file system can do, and how bytes and names get onto it durably.

The only package that looks at `errno`.
"""
