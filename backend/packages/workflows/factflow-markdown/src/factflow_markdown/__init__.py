"""HTML to markdown, and markdown to segments."""
