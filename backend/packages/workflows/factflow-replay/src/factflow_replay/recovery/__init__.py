"""Taking up what a stop or a crash cut off."""
