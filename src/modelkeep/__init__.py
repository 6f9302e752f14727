"""One verified copy of every Hugging Face model for a whole team."""
