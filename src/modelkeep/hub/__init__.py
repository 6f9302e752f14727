"""Everything modelkeep knows of the Hugging Face Hub: its cache layout, its protocol, its client."""
