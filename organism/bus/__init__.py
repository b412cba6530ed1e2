"""Where messages wait and whom they are for: routes, bounded mailboxes, thread records, dead letters."""
