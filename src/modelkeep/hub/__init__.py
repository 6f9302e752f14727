"""All that modelkeep knows of the Hugging Face Hub: its cache layout, protocol and client."""
