"""Providers: embedded queue, filesystem storage, databases."""
