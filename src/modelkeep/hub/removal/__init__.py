"""Taking revisions and garbage out of a keep, beside whoever is about to use them."""
