"""Pages and pictures about decoders, for people to look at."""
