"""Lists of what is and was there: filtered, sorted, and handed out in pages."""
